"""How a rung does on days later than those it was fitted on: what rungs are compared, tuned and calibrated by."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone

from ml.contract.framing import framing
from ml.features.rows import Rows
from ml.statistics.metrics import losses
from ml.statistics.unlabelled import sums_by_day
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
        return sums_of_days(self.days, self.outcomes, moved(self.scores, self.bases, slope))

    def loss(self, slope: float) -> float:
        """Return the primary metric of the scores, calibrated by a slope."""
        calibrated = moved(self.scores, self.bases, slope)
        return float(losses(self.outcomes, calibrated)[framing().task.metric].mean())


def sums_of_days(
    days: NDArray[Any], outcomes: NDArray[np.int64], scores: NDArray[np.float64]
) -> dict[str, dict[str, float]]:
    """Return the sums of each day by their names (see `statistics.unlabelled.sums_by_day`)."""
    found, place = np.unique(days, return_inverse=True)
    sums = sums_by_day(outcomes.astype(np.float64), scores, place, framing().task.metric)
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
