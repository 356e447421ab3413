"""The report's pictures, and the only place that knows matplotlib: each function returns one inline SVG."""

import io
from collections.abc import Callable
from functools import wraps
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from ml.contract.reference import Reference
from ml.monitoring.drift import Drift
from ml.monitoring.observations import Observations
from ml.monitoring.signal import Signal

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

TRAINED, SERVED, ALARM, QUIET = "#8a94a6", "#1f6feb", "#cf222e", "#1a7f37"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ml",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#57606a",
    "axes.grid": True,
    "grid.color": "#eaeef2",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
BINS = 10  # equal-mass bins of the calibration plot


def picture(width: float, height: float) -> Callable[[Callable[..., None]], Callable[..., str]]:
    """Make a function that draws on axes return its drawing as SVG of the given size, in inches."""

    def make(draw: Callable[..., None]) -> Callable[..., str]:
        @wraps(draw)
        def run(*words: Any) -> str:
            with plt.rc_context(STYLE):
                figure, axes = plt.subplots(figsize=(width, height))
                draw(axes, *words)
                out = io.StringIO()
                figure.savefig(out, format="svg", metadata={"Date": None})
                plt.close(figure)
            return out.getvalue()[out.getvalue().index("<svg") :]

        return run

    return make


def _rates(days: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return days, in order, and the mean of the values of each."""
    found, place = np.unique(days, return_inverse=True)
    return found.astype("datetime64[D]"), np.bincount(place, values) / np.bincount(place)


@picture(9, 3.2)
def performance(axes: Axes, reference: Reference, served: Observations) -> None:
    """Observed and predicted rate by day, of the training months and of all that was served."""
    rows = np.array(reference.rows)
    trained = np.array(reference.days, dtype="datetime64[D]")
    matured = served.where(served.matured)
    days, observed = _rates(matured.days, matured.outcomes)
    _, predicted = _rates(matured.days, matured.scores)
    axes.plot(trained, np.array(reference.observed) / rows, ".", color=TRAINED, label="observed in training")
    axes.plot(
        trained,
        np.array(reference.predicted) / rows,
        ".",
        ms=3,
        color="#c9d1d9",
        label="predicted in training",
    )
    axes.plot(days, observed, ".", color=ALARM, label="observed")
    axes.plot(days, predicted, ".", ms=4, color=SERVED, label="predicted")
    axes.set(ylabel="rate of a day", ylim=(0, None))
    axes.legend(ncols=4, loc="upper left", bbox_to_anchor=(0, 1.16))


@picture(9, 2.4)
def alarm(axes: Axes, signal: Signal, days: int) -> None:
    """The signal among what windows of the training months give by chance."""
    axes.hist(
        signal.by_chance,
        bins=50,
        color="#c9d1d9",
        label=f"{len(signal.by_chance):,} windows of {days} training days",
    )
    axes.axvspan(signal.low, signal.high, color=QUIET, alpha=0.08, label="limits")
    axes.axvline(signal.value, color=ALARM if signal.alarms else QUIET, lw=2.5, label="this window")
    axes.set(xlabel="observed minus predicted rate", yticks=[])
    axes.legend(ncols=3, loc="upper left", bbox_to_anchor=(0, 1.2))


@picture(4.4, 3.2)
def scores(axes: Axes, drift: Drift, cells: list[str]) -> None:
    """Shares of the scores in the deciles of training."""
    place = np.arange(len(cells) - 1)
    axes.bar(place - 0.2, drift.trained[:-1], 0.4, color=TRAINED, label="training")
    axes.bar(place + 0.2, drift.served[:-1], 0.4, color=SERVED, label="served")
    axes.set_xticks(place, cells[:-1], rotation=60, fontsize=8)
    axes.set(ylabel="share of scores")
    axes.legend(ncols=2, loc="upper left", bbox_to_anchor=(0, 1.16))


@picture(4.4, 3.2)
def calibration(axes: Axes, matured: Observations) -> None:
    """Observed rate against mean score, in bins of equal mass."""
    order = np.array_split(np.argsort(matured.scores, kind="stable"), BINS)
    order = [rows for rows in order if len(rows)]
    said = np.array([matured.scores[rows].mean() for rows in order])
    came = np.array([matured.outcomes[rows].mean() for rows in order])
    top = 1.1 * max(said.max(), came.max())
    axes.plot([0, top], [0, top], color=TRAINED, lw=1, ls="--", label="perfect")
    axes.plot(said, came, "o-", color=SERVED, label="served")
    axes.set(xlabel="mean score", ylabel="observed rate", xlim=(0, top), ylim=(0, top))
    axes.legend(ncols=2, loc="upper left", bbox_to_anchor=(0, 1.16))


@picture(9, 4.4)
def drift(axes: Axes, drifts: list[Drift]) -> None:
    """Each variable's distance from training beside its threshold; calendar features are pale."""
    ordered = sorted(drifts, key=lambda each: each.distance)
    colours = ["#d0d7de" if each.calendar else ALARM if each.drifted else SERVED for each in ordered]
    place = np.arange(len(ordered))
    axes.barh(place, [each.distance for each in ordered], color=colours, height=0.7)
    limits = [(row, each.threshold) for row, each in zip(place, ordered, strict=True) if not each.calendar]
    axes.vlines(
        [limit for _, limit in limits],
        [row - 0.42 for row, _ in limits],
        [row + 0.42 for row, _ in limits],
        color="#24292f",
        lw=2,
    )
    axes.set_yticks(place, [each.name + (" (calendar, exempt)" if each.calendar else "") for each in ordered])
    axes.set(xlabel="Jensen-Shannon distance from training; the black mark is the threshold")
    axes.grid(visible=False, axis="y")
