"""How far the mean of a few days varies, where days follow each other in runs of good and bad ones."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]


class LongRun(NamedTuple):
    """The covariance of days, [k, k], that divided by a number of days is that of their mean, and its freedom."""

    covariance: Floats
    freedom: float


def long_run(days: Floats, run: int, means: int = 1) -> LongRun:
    """Return the long-run covariance of days in order, [days, k], from which `means` means were taken off.

    Covariances are summed over the lags with falling weights (Newey and West 1987). Days hang together over about `run`
    days; twice as many lags count, so that what is left beyond a run does as well. There are as many degrees of freedom
    as stretches of so many days.
    """
    lags, free = max(1, min(2 * run, len(days) // 2)), max(1, len(days) - means)
    total = days.T @ days
    for lag in range(1, lags):
        lagged = days[lag:].T @ days[:-lag]
        total += (1 - lag / lags) * (lagged + lagged.T)
    return LongRun(np.asarray(total / free), max(free / lags, 2.0))


def student(days: LongRun, level: float) -> float:
    """Return the quantile of the mean of one value's days, for a single day; over n days it is 1 / root of n of it."""
    return float(stdtrit(days.freedom, level) * np.sqrt(days.covariance[0, 0]))
