"""Metrics of scored binary outcomes with day-bootstrap intervals, for training, evaluation and monitoring alike.

A resample of days is a weighting of rows, so all draws share one sort: hundreds of draws cost what a few single
calls would. Definitions are scikit-learn's (tested equal); `pr_auc` is average precision.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.statistics.bootstrap import interval, resampled_days

Floats = NDArray[np.float64]

NAMES = ("log_loss", "brier", "roc_auc", "pr_auc")
CHUNK = 25  # draws held in memory at once


class Estimate(NamedTuple):
    """A value and its 95 % interval over resampled days."""

    value: float
    low: float
    high: float


def losses(outcomes: NDArray[Any], scores: Floats) -> dict[str, Floats]:
    """Return each row's log loss (nats) and Brier loss, [n]."""
    safe = np.clip(scores, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    return {"log_loss": -np.log(np.where(outcomes == 1, safe, 1 - safe)), "brier": (scores - outcomes) ** 2}


def metrics(outcomes: NDArray[Any], scores: Floats, days: NDArray[Any], weights: Floats) -> dict[str, Floats]:
    """Return every metric for each weighting of days, [draws]; `weights` is [draws, days in order].

    A ranking metric is NaN where a weighting holds one class only.
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
    return {**found, "roc_auc": areas[0], "pr_auc": areas[1]}


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
    outcomes: NDArray[Any], scores: Floats, days: NDArray[Any], draws: int = 200, seed: int = 0
) -> dict[str, Estimate]:
    """Return every metric with its 95 % interval over resampled days; draws with one class only are left out."""
    count = len(np.unique(days))
    drawn = resampled_days(count, draws, seed)
    weights = np.array([np.bincount(draw, minlength=count) for draw in drawn], dtype=np.float64)
    spread = metrics(outcomes, scores, days, weights)
    value = metrics(outcomes, scores, days, np.ones((1, count)))
    return {name: Estimate(float(value[name][0]), *interval(spread[name])) for name in NAMES}
