"""Calibration: how far scores of later days should have kept from the base rate; one map of the logit, in the graph."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from ml.statistics.calibration import to_logit
from ml.statistics.metrics import losses

Floats = NDArray[np.float64]
SLOPES = (0.1, 3.0)


class Calibration(NamedTuple):
    """A map of the logit, `slope` * logit + `intercept`, under which scores become calibrated probabilities."""

    slope: float
    intercept: float

    def applied(self, scores: Floats) -> Floats:
        """Return calibrated probabilities of scores in 0..1."""
        return np.asarray(expit(self.slope * to_logit(scores) + self.intercept))


def towards(slope: float, base: float) -> Calibration:
    """Return the map that moves scores towards (slope < 1) or away from the base rate, which stays where it is."""
    return Calibration(slope, float((1 - slope) * logit(base)))


def calibrate(scores: Floats, bases: Floats, outcomes: NDArray[np.int64]) -> float:
    """Return the slope that later days would have wanted.

    Platt scaling (Platt 1999) with the intercept tied to the base rate `bases` of each row's own training days: the
    rate of a few weeks swings too much to be learned from them, the confidence of a model does not.
    """
    if np.ptp(scores - bases) == 0:
        return 1.0  # one score for all has no confidence to correct

    def loss(slope: float) -> float:
        return float(losses(outcomes, moved(scores, bases, slope))["log_loss"].mean())

    return float(minimize_scalar(loss, bounds=SLOPES, method="bounded", options={"xatol": 1e-6}).x)


def moved(scores: Floats, bases: Floats, slope: float) -> Floats:
    """Return scores moved towards the base rate of each row's own training days, or away from it."""
    base = logit(bases)
    return np.asarray(expit(base + slope * (to_logit(scores) - base)))
