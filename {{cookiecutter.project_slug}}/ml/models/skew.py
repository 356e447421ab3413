"""Learning from few positives without lying about how few they are: negatives are sampled, the score is moved back."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone


class Skewed(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """An estimator fitted on all positives and a share of the negatives, whose scores are probabilities all the same.

    Keeping a share `keep` of the negatives multiplies the odds of every row by 1/keep; the scores are moved back by
    adding log(keep) to their logit (King and Zeng 2001, equation 7). A weight of w on the positives does the same
    with keep = 1/w, and takes as long as all rows do.
    """

    def __init__(self, estimator: ClassifierMixin, keep: float, seed: int) -> None:
        self.estimator, self.keep, self.seed = estimator, keep, seed

    def fit(self, frame: pd.DataFrame, outcomes: NDArray[np.int64]) -> "Skewed":
        """Fit on every positive and a drawn share `keep`, in 0..1, of the negatives; rows stay in their order."""
        drawn = np.random.default_rng(self.seed).random(len(outcomes)) < self.keep
        rows = (outcomes == 1) | drawn
        self.classes_ = np.array([0, 1])
        self.estimator_ = clone(self.estimator).fit(frame[rows], outcomes[rows])
        return self

    @property
    def shift(self) -> float:
        """What is added to the logit of the estimator's score."""
        return float(np.log(self.keep))

    def predict_proba(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return the probabilities of both classes, [n, 2]."""
        odds = np.array(self.estimator_.predict_proba(frame), dtype=np.float64)  # a copy, the estimator keeps its own
        odds[:, 1] *= self.keep
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))
