"""How a rung does on days later than those it was fitted on: what rungs are compared, tuned and calibrated by."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone

from ml.contract.framing import framing
from ml.features.rows import Rows
from ml.statistics.metrics import losses
from ml.statistics.unlabelled import expected_losses, slope_terms
from ml.training.calibrate import calibrate, moved
from ml.training.rungs import fitted
from ml.training.window import folds


class Later(NamedTuple):
    """Scores of the folds' rows; `bases` is the rate of positives among the days that each was fitted on."""

    scores: NDArray[np.float64]
    bases: NDArray[np.float64]
    outcomes: NDArray[np.int64]
    days: NDArray[np.object_]

    def slope(self) -> float:
        """Return the slope of the logit that calibrates the scores."""
        return calibrate(self.scores, self.bases, self.outcomes)

    def by_day(self, slope: float) -> dict[str, dict[str, float]]:
        """Return each day's sums, of scores that a slope has calibrated."""
        return sums_by_day(self.days, self.outcomes, moved(self.scores, self.bases, slope))

    def loss(self, slope: float) -> float:
        """Return the primary metric of the scores, calibrated by a slope."""
        calibrated = moved(self.scores, self.bases, slope)
        return float(losses(self.outcomes, calibrated)[framing().task.metric].mean())


def sums_by_day(days: NDArray[Any], outcomes: NDArray[Any], scores: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Return of each day the sums of its scores, of realised and estimated losses, and the terms of the slope."""
    metric = framing().task.metric
    rows = {
        "predicted": scores,
        "realised": losses(outcomes, scores)[metric],
        "estimated": expected_losses(scores)[metric],
    }
    found, place = np.unique(days, return_inverse=True)
    sums = {name: np.bincount(place, values).astype(np.float64) for name, values in rows.items()}
    sums["slope"], sums["information"] = slope_terms(outcomes, scores, place)
    return {str(day): {name: float(sums[name][at]) for name in sums} for at, day in enumerate(found)}


def later_days(
    estimator: ClassifierMixin, fit: Rows, after_fold: Callable[[int, Later], None] = lambda *_: None
) -> Later:
    """Score every fold by a clone that was fitted on the days before it; `after_fold` sees all so far."""
    parts: list[Later] = []
    for fold, (before, after) in enumerate(folds(fit)):
        scores = fitted(clone(estimator), before).predict_proba(after.frame)[:, 1]
        parts.append(Later(scores, np.full(len(scores), before.outcomes.mean()), after.outcomes, after.days))
        after_fold(fold, _together(parts))
    return _together(parts)


def _together(parts: list[Later]) -> Later:
    return Later(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
