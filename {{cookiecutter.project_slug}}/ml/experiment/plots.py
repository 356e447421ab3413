"""The page's pictures: each function returns one inline SVG."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.contract.framing import framing
from ml.contract.verdict import Interval
from ml.experiment.verdict import Point
from ml.pages.picture import BAD, CALM, GOOD, INK, OPEN, STRONG, Axes, picture

COLOURS = {"pass": GOOD, "fail": BAD, "inconclusive": OPEN}
ROOM = 0.6  # of the last bounds, above and below: the first days' are wider and run out of the picture
POINTS = 1500  # requests in the picture of scores; more would be a blot


@picture(9, 3.2)
def sequence(axes: Axes, points: list[Point], decided: Interval, scale: float, label: str) -> None:
    """The estimate and its bounds as they were after each day, against the limit."""
    days = np.array([each.day for each in points], dtype="datetime64[D]")
    value, low, high = (scale * np.array([getattr(each, of) for each in points]) for of in ("value", "low", "high"))
    limit, colour = scale * decided.limit, COLOURS[decided.answer]
    axes.fill_between(days, low, high, color=colour, alpha=0.15, lw=0, label="bounds, for all looks together")
    axes.plot(days, value, "o-", color=colour, ms=3, label="estimate")
    axes.axhline(0, color=CALM, lw=1)
    axes.axhline(limit, color=INK, lw=1.6, ls="--", label=f"limit, {limit:g}")
    bottom, top = min(low[-1], limit, 0), max(high[-1], limit, 0)
    room = ROOM * (top - bottom) + 1e-9
    axes.set(ylabel=label, ylim=(max(bottom - room, min(low.min(), bottom - room / 9)),
                                 min(top + room, max(high.max(), top + room / 9))))  # fmt: skip
    axes.set_xticks(_apart(days))
    axes.legend(ncols=3, loc="upper left", bbox_to_anchor=(0, 1.16))


@picture(3.2, 0.42)
def interval(axes: Axes, found: Interval) -> None:
    """One check: the estimate with its bounds, the thick mark of its limit, and a thin one at zero."""
    colour = COLOURS[found.answer]
    axes.axvline(0, color=CALM, lw=1)
    axes.hlines(0, found.low, found.high, color=colour, lw=3)
    axes.scatter([found.value], [0], color=colour, s=34, zorder=3)
    axes.vlines(found.limit, -0.8, 0.8, color=INK, lw=2.4, zorder=4)
    ends = (found.low, found.high, found.limit, 0.0)
    room = 0.06 * (max(ends) - min(ends)) or 1.0
    axes.set(ylim=(-1, 1), xlim=(min(ends) - room, max(ends) + room))
    axes.axis("off")


@picture(4.4, 3.6)
def scores(axes: Axes, answered: pd.DataFrame) -> None:
    """The shadow's score of each request beside the champion's, and where they decide otherwise."""
    shown = answered.iloc[:: max(1, len(answered) // POINTS)]
    flipped = (shown.decision.astype(bool) != shown.champion_decision.astype(bool)).to_numpy()
    for rows, colour, label in ((~flipped, STRONG, "same decision"), (flipped, BAD, "changed")):
        axes.scatter(shown.champion_score[rows], shown.score[rows], s=7, lw=0, alpha=0.45, color=colour, label=label)
    threshold, top = framing().cost.costs.threshold, 1.05 * float(max(shown.score.max(), shown.champion_score.max()))
    axes.plot([0, top], [0, top], color=CALM, lw=1, ls="--")
    axes.axhline(threshold, color=INK, lw=0.8)
    axes.axvline(threshold, color=INK, lw=0.8)
    axes.set(xlabel="champion's score", ylabel="shadow's score", xlim=(0, top), ylim=(0, top))
    axes.legend(ncols=2, loc="upper left", bbox_to_anchor=(0, 1.14), markerscale=2)


@picture(4.4, 3.6)
def waits(axes: Axes, champion: NDArray[np.float64], shadow: NDArray[np.float64]) -> None:
    """How many answers took longer than so many milliseconds, in logarithms: the slowest are what counts."""
    for seconds, colour, label in ((champion, CALM, "champion"), (shadow, STRONG, "shadow")):
        left = np.geomspace(1, 1 / len(seconds), 200)
        axes.plot(1000 * np.quantile(seconds, 1 - left), left, color=colour, lw=1.8, label=label)
    axes.axhline(0.01, color=INK, lw=0.8)
    axes.set(xscale="log", yscale="log", xlabel="milliseconds", ylabel="share that took longer")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(ncols=2, loc="upper left", bbox_to_anchor=(0, 1.14))


def _apart(days: NDArray[np.datetime64]) -> list[np.datetime64]:
    """Return some of the days, so far apart that their names do not touch."""
    return list(days[:: -(-len(days) // 8)])
