"""The report's pictures: each function returns one inline SVG."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.contract.reference import Reference
from ml.monitoring.drift import Drift
from ml.monitoring.observations import Observations
from ml.monitoring.signal import Signal
from ml.pages.picture import BAD, CALM, GOOD, INK, PALE, STRONG, Axes, as_high_as, picture


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
    axes.plot(trained, np.array(reference.observed) / rows, ".", color=CALM, label="observed in training")
    axes.plot(
        trained,
        np.array(reference.predicted) / rows,
        ".",
        ms=3,
        color=PALE,
        label="predicted in training",
    )
    axes.plot(days, observed, ".", color=BAD, label="observed")
    axes.plot(days, predicted, ".", ms=4, color=STRONG, label="predicted")
    axes.set(ylabel="rate of a day", ylim=(0, None))
    axes.legend(ncols=4, loc="upper left", bbox_to_anchor=(0, 1.16))


@picture(9, 2.4)
def alarm(axes: Axes, signal: Signal, days: int) -> None:
    """The signal among what windows of the training months give by chance."""
    axes.hist(
        signal.by_chance,
        bins=50,
        color=PALE,
        label=f"{len(signal.by_chance):,} windows of {days} training days",
    )
    axes.axvspan(signal.low, signal.high, color=GOOD, alpha=0.08, label="limits")
    axes.axvline(signal.value, color=BAD if signal.alarms else GOOD, lw=2.5, label="this window")
    axes.set(xlabel="observed minus predicted rate", yticks=[])
    axes.legend(ncols=3, loc="upper left", bbox_to_anchor=(0, 1.2))


@picture(4.4, 3.2)
def scores(axes: Axes, drift: Drift, cells: list[str]) -> None:
    """Shares of the scores in the deciles of training."""
    place = np.arange(len(cells) - 1)
    axes.bar(place - 0.2, drift.trained[:-1], 0.4, color=CALM, label="training")
    axes.bar(place + 0.2, drift.served[:-1], 0.4, color=STRONG, label="served")
    axes.set_xticks(place, cells[:-1], rotation=60, fontsize=8)
    axes.set(ylabel="share of scores")
    axes.legend(ncols=2, loc="upper left", bbox_to_anchor=(0, 1.16))


@picture(9, 4.4)
def drift(axes: Axes, drifts: list[Drift]) -> None:
    """Each variable's distance from training beside its threshold; calendar features are pale."""
    ordered = sorted(drifts, key=lambda each: each.distance)
    as_high_as(1 + 0.22 * len(ordered))
    colours = ["#d0d7de" if each.calendar else BAD if each.drifted else STRONG for each in ordered]
    place = np.arange(len(ordered))
    axes.barh(place, [each.distance for each in ordered], color=colours, height=0.7)
    limits = [(row, each.threshold) for row, each in zip(place, ordered, strict=True) if not each.calendar]
    axes.vlines(
        [limit for _, limit in limits],
        [row - 0.42 for row, _ in limits],
        [row + 0.42 for row, _ in limits],
        color=INK,
        lw=2,
    )
    axes.set_yticks(place, [each.name + (" (calendar, exempt)" if each.calendar else "") for each in ordered])
    axes.set(xlabel="Jensen-Shannon distance from training; the black mark is the threshold")
    axes.grid(visible=False, axis="y")
