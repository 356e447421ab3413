"""Metrics of scored binary outcomes with day-bootstrap intervals, for training, evaluation and monitoring alike.

A resample of days is a weighting of rows, so all draws share one sort: hundreds of draws cost what a few single
calls would. Definitions are scikit-learn's (tested equal); `pr_auc` is average precision. What is decided at the
threshold, and what it costs, follows from the costs of the two errors.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.statistics.bootstrap import interval, resampled_days
from ml.statistics.calibration import calibration

Floats = NDArray[np.float64]

CHUNK = 25  # draws held in memory at once


class Costs(NamedTuple):
    """What a false alarm and a miss cost, in any one unit."""

    false_alarm: float
    miss: float

    @property
    def threshold(self) -> float:
        """The score from which acting is cheaper than not acting (Elkan 2001, equation 2), in 0..1."""
        return self.false_alarm / (self.false_alarm + self.miss)


class Estimate(NamedTuple):
    """A value and its 95 % interval over resampled days; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.value is None:
            return "none"
        return f"{digits(self.value)} ({digits(self.low)} to {digits(self.high)})"


def digits(value: float | None) -> str:
    """Return a number as reports show it: three to four digits, whole from a hundred on."""
    if value is None:
        return "none"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def losses(outcomes: NDArray[Any], scores: Floats) -> dict[str, Floats]:
    """Return each row's log loss (nats) and Brier loss, [n]."""
    safe = np.clip(scores, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    return {"log_loss": -np.log(np.where(outcomes == 1, safe, 1 - safe)), "brier": (scores - outcomes) ** 2}


def cost_of(outcomes: NDArray[Any], decisions: NDArray[Any], costs: Costs) -> Floats:
    """Return what each row's decision cost, [n], in the unit of cost per thousand: a thousand times its own."""
    acted, positive = np.asarray(decisions, dtype=bool), np.asarray(outcomes) == 1
    return 1000.0 * np.where(acted & ~positive, costs.false_alarm, np.where(~acted & positive, costs.miss, 0.0))


def metrics(
    outcomes: NDArray[Any], scores: Floats, days: NDArray[Any], costs: Costs, weights: Floats
) -> dict[str, Floats]:
    """Return every metric for each weighting of days, [draws]; `weights` is [draws, days in order].

    A metric that needs both classes is NaN where a weighting holds one class only.
    """
    _, day = np.unique(days, return_inverse=True)
    rows = np.bincount(day, minlength=weights.shape[1])
    found = {
        name: weights @ np.bincount(day, loss, minlength=len(rows)) / (weights @ rows)
        for name, loss in losses(outcomes, scores).items()
    }
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.flatnonzero(np.diff(scores[order], append=np.nan))
    chunks = [
        _ranking(outcomes[order] == 1, weights[start : start + CHUNK][:, day[order]], last_of_tie)
        for start in range(0, len(weights), CHUNK)
    ]
    areas = np.concatenate(chunks, axis=1)
    found |= {"roc_auc": areas[0], "pr_auc": areas[1]}
    found |= _decided(outcomes == 1, scores >= costs.threshold, day, costs, weights)
    return found | calibration(outcomes, scores, day, weights)


def _decided(
    positive: NDArray[np.bool_], acted: NDArray[np.bool_], day: NDArray[np.int64], costs: Costs, weights: Floats
) -> dict[str, Floats]:
    """Return what deciding at the threshold gives and costs per thousand decisions, each [draws].

    Without a model one acts always or never, whichever is cheaper.
    """

    def total(rows: NDArray[np.bool_]) -> Floats:
        return np.asarray(weights @ np.bincount(day, rows, minlength=weights.shape[1]))

    hits, alarms, misses = total(acted & positive), total(acted & ~positive), total(~acted & positive)
    rows, never = total(np.ones(len(day), dtype=bool)), (hits + misses) * costs.miss
    always = (rows - hits - misses) * costs.false_alarm
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "recall": hits / (hits + misses),
            "precision": hits / (hits + alarms),
            "f1": 2 * hits / (2 * hits + alarms + misses),
            "acted": (hits + alarms) / rows,
            "cost": 1000 * (alarms * costs.false_alarm + misses * costs.miss) / rows,
            "cost_without_model": 1000 * np.minimum(never, always) / rows,
        }


def _ranking(positive: NDArray[np.bool_], weights: Floats, thresholds: NDArray[np.int64]) -> Floats:
    """Return areas under the ROC and the precision-recall curve, [2, draws], of rows sorted by falling score."""
    hits = np.cumsum(weights * positive, axis=1)[:, thresholds]
    alarms = np.cumsum(weights * ~positive, axis=1)[:, thresholds]
    with np.errstate(invalid="ignore", divide="ignore"):
        new_hits = np.diff(hits, axis=1, prepend=0)
        roc = (np.diff(alarms, axis=1, prepend=0) * (hits - new_hits / 2)).sum(axis=1)
        precision = np.where(hits + alarms > 0, hits / (hits + alarms), 0)
        return np.array([roc / (hits[:, -1] * alarms[:, -1]), (new_hits * precision).sum(axis=1) / hits[:, -1]])


def estimates(
    outcomes: NDArray[Any], scores: Floats, days: NDArray[Any], costs: Costs, draws: int = 200, seed: int = 0
) -> dict[str, Estimate]:
    """Return every metric with its 95 % interval over resampled days.

    Draws on which a metric is not defined are left out; one that is defined on none is None.
    """
    count = len(np.unique(days))
    drawn = resampled_days(count, draws, seed)
    weights = np.array([np.bincount(draw, minlength=count) for draw in drawn], dtype=np.float64)
    spread = metrics(outcomes, scores, days, costs, weights)
    value = metrics(outcomes, scores, days, costs, np.ones((1, count)))
    return {name: Estimate(*map(_or_none, (value[name][0], *interval(spread[name])))) for name in value}


def _or_none(value: Any) -> float | None:
    """Return a plain number, or None for NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)
