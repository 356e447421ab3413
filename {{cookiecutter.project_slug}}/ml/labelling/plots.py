"""The report's pictures: each function returns one inline SVG."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.contract.labels import ABSENT, ASSUMED, CONTRADICTED, LATE, OBSERVED, PENDING
from ml.pages.picture import BAD, CALM, INK, OPEN, PALE, STRONG, Axes, picture

COLOURS = {OBSERVED: STRONG, LATE: OPEN, ASSUMED: CALM, PENDING: PALE, ABSENT: BAD, CONTRADICTED: INK}


@picture(9, 3.2)
def days(axes: Axes, by_day: list[dict[str, Any]]) -> None:
    """What became of the predictions of each day, as shares."""
    place = np.array([each["day"] for each in by_day], dtype="datetime64[D]")
    below = np.zeros(len(by_day))
    for status, colour in COLOURS.items():
        shares = np.array([each[status] / each["rows"] for each in by_day])
        if shares.any():
            axes.bar(place, shares, 0.9, bottom=below, color=colour, label=status)
        below += shares
    axes.set(ylabel="share of a day's predictions", ylim=(0, 1), xticks=_apart(place))
    axes.legend(ncols=5, loc="upper left", bbox_to_anchor=(0, 1.16))


@picture(9, 2.4)
def delays(axes: Axes, hours: NDArray[np.float64], window: float) -> None:
    """How long outcomes took, beside the window; in logarithms, for the late ones are few."""
    axes.hist(hours, bins=50, color=STRONG, log=True)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.axvline(window, color=INK, lw=2, label="end of the window")
    axes.set(xlabel="hours from prediction to outcome", ylabel="outcomes")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.2))


def _apart(days: NDArray[np.datetime64]) -> list[np.datetime64]:
    """Return some of the days, so far apart that their names do not touch."""
    chosen = [days[0]]
    for day in days:
        if day - chosen[-1] > (days[-1] - days[0]) / 9:
            chosen.append(day)
    return chosen
