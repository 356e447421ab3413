"""The verdict's picture: how far apart the two models' losses are, and how far apart they may be."""

import numpy as np

from ml.contract.verdict import Interval
from ml.pages.picture import BAD, CALM, GOOD, INK, OPEN, Axes, as_high_as, picture

COLOURS = {"pass": GOOD, "fail": BAD, "inconclusive": OPEN}
REACH = 3  # times the farthest value or margin: a wider interval runs out of the picture
ROW, GAP = 0.24, 0.7  # inches a row, and rows between all and the slices


@picture(7, 2)
def differences(axes: Axes, whole: dict[str, Interval], slices: dict[str, Interval]) -> None:
    """Each difference with its bounds, coloured by its answer; the upright mark is the margin."""
    found = [*whole.values(), *slices.values()]
    place = np.concatenate([np.arange(len(whole)), np.arange(len(whole), len(found)) + GAP])
    colours = [COLOURS[each.answer] for each in found]
    as_high_as(0.8 + ROW * (place[-1] + 1))
    axes.axvline(0, color=CALM, lw=1)
    axes.hlines(place, [each.low for each in found], [each.high for each in found], color=colours, lw=2.5)
    axes.scatter([each.value for each in found], place, color=colours, s=30, zorder=3)
    axes.vlines([each.limit for each in found], place - 0.36, place + 0.36, color=INK, lw=2, zorder=4)
    axes.set_yticks(place, [*whole, *slices])
    reach = REACH * max(max(abs(each.value), each.limit) for each in found)
    low, high = min(each.low for each in found), max(max(each.high, each.limit) for each in found)
    axes.set(xlim=(max(1.08 * min(low, 0), -reach), min(1.08 * high, reach)), ylim=(place[-1] + 0.6, -0.6))
    axes.set_xlabel("challenger better  ←   difference of losses   →  challenger worse")
    axes.grid(visible=False, axis="y")
    axes.tick_params(left=False)
