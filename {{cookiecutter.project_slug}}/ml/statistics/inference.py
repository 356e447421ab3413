"""One-sided bounds and p-values for a ratio of sums over days, and what they say about a limit.

Every statistical question of the gate is one ratio of sums whose unit of chance is the day: a mean difference of
losses, a share of changed decisions, predicted over observed. With a few dozen days the percentile bootstrap is too
narrow, so the ratio is studentised by its cluster-robust standard error in every draw (bootstrap-t: Efron and
Tibshirani 1993, chapter 12; clusters: Cameron, Gelbach and Miller 2008). Where tails are heavy that is too narrow as
well, and Student's t is not; where days are skewed it is the other way round: the wider of the two counts.
"""

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from ml.statistics.bootstrap import resampled_days

Floats = NDArray[np.float64]
Answer = Literal["pass", "fail", "inconclusive"]

DRAWS = 4000
WIDER = 1.1  # days that the wider of two bounds costs more than one alone, measured by simulation


class Bounded(Protocol):
    """Something with one-sided bounds, each wrong with probability `alpha`."""

    def low(self, alpha: float) -> float:
        """Return the lower bound."""

    def high(self, alpha: float) -> float:
        """Return the upper bound."""


@dataclass(frozen=True)
class Ratio:
    """A ratio of sums over `days` days: its value, its standard error, and its studentised draws, sorted."""

    value: float
    error: float
    days: int
    studentised: Floats

    @property
    def spread(self) -> float:
        """The standard deviation that one day would have: `error` shrinks with the root of the days."""
        return self.error * float(np.sqrt(self.days))

    def low(self, alpha: float) -> float:
        """Return the lower one-sided bound at level 1 - `alpha`."""
        return self.value - self.error * max(self._quantile(1 - alpha), self._student(1 - alpha))

    def high(self, alpha: float) -> float:
        """Return the upper one-sided bound at level 1 - `alpha`."""
        return self.value - self.error * min(self._quantile(alpha), self._student(alpha))

    def p_over(self, limit: float) -> float:
        """Return the p-value against the hypothesis that the ratio is at most `limit`."""
        if self.error == 0:
            return 0.0 if self.value > limit else 1.0
        statistic = (self.value - limit) / self.error
        drawn = (1 + (self.studentised >= statistic).sum()) / (1 + len(self.studentised))
        return float(max(drawn, stdtr(self.days - 1, -statistic)))

    def _quantile(self, share: float) -> float:
        return float(np.quantile(self.studentised, share))

    def _student(self, share: float) -> float:
        return float(stdtrit(self.days - 1, share))


def ratio(sums: NDArray[Any], sizes: NDArray[Any], days: NDArray[Any], seed: int = 0) -> Ratio:
    """Return the ratio of the sums of two columns, each a value a row, [n], with days as the unit of chance.

    Raises ValueError for a single day, and where `sizes` sum to nothing.
    """
    _, day = np.unique(days, return_inverse=True)
    return of_days(np.bincount(day, sums).astype(np.float64), np.bincount(day, sizes).astype(np.float64), seed)


def of_days(sums: Floats, sizes: Floats, seed: int = 0) -> Ratio:
    """Return the ratio from the sums of single days, [days]; raises ValueError as `ratio` does."""
    if len(sums) < 2 or sizes.sum() == 0:
        raise ValueError("a ratio needs two days and something to divide by")
    count = len(sums)
    value = sums.sum() / sizes.sum()
    error = _error(sums - value * sizes, sizes.sum(), count)
    if error <= 1e-12 * max(1.0, abs(value)):
        return Ratio(float(value), 0.0, count, np.zeros(1))
    off = sums - value * sizes  # every draw needs five sums over its days: all draws are one matrix product
    columns = np.column_stack([off, sizes, off**2, off * sizes, sizes**2])
    offs, size, squares, mixed, size_squares = (_counts(count, seed) @ columns).T
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = offs / size  # from `value`
        residuals = squares - 2 * apart * mixed + apart**2 * size_squares
        some = (size > 0) & (residuals > 1e-12 * squares)  # what is left of rounding is no residual
        studentised = apart[some] * size[some] / np.sqrt(count / (count - 1) * residuals[some])
    return Ratio(float(value), error, count, np.sort(studentised))


def _error(residuals: Floats, size: float, count: int) -> float:
    """Return the cluster-robust standard error of a ratio from its residuals, one a day."""
    return float(np.sqrt(count / (count - 1) * (residuals**2).sum()) / size)


@lru_cache(maxsize=4)  # a verdict asks the same days many times
def _counts(days: int, seed: int) -> Floats:
    """Return how often each draw holds each day, [draws, days]."""
    places = resampled_days(days, DRAWS, seed) + np.arange(DRAWS)[:, None] * days
    return np.bincount(places.ravel(), minlength=DRAWS * days).reshape(DRAWS, days).astype(np.float64)


def below(found: Bounded, limit: float, alpha: float) -> Answer:
    """Say whether what was found is below `limit`: pass when its upper bound is, fail when its lower bound is not."""
    if found.high(alpha) < limit:
        return "pass"
    return "fail" if found.low(alpha) >= limit else "inconclusive"


def between(found: Ratio, low: float, high: float, alpha: float) -> Answer:
    """Say whether the ratio lies inside limits: both one-sided tests must say so (Schuirmann 1987)."""
    if found.low(alpha) > low and found.high(alpha) < high:
        return "pass"
    return "fail" if found.high(alpha) <= low or found.low(alpha) >= high else "inconclusive"


def holm(p_values: list[float]) -> list[float]:
    """Return p-values adjusted so that all of them together are wrong at most as often as one alone (Holm 1979)."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def days_needed(spread: float, distance: float, alpha: float, power: float) -> int | None:
    """Return how many days show, with `power`, that a ratio lies `distance` below its limit; None where none would.

    The normal sample size with Guenther's (1981) correction for an estimated spread.
    """
    if distance <= 0:
        return None
    z_alpha, z_power = NormalDist().inv_cdf(1 - alpha), NormalDist().inv_cdf(power)
    return int(np.ceil(WIDER * (((z_alpha + z_power) * spread / distance) ** 2 + z_alpha**2 / 2)))


def power(spread: float, distance: float, days: int, alpha: float) -> float:
    """Return how often a ratio that truly lies `distance` below its limit is shown to, over `days` days."""
    normal = NormalDist()
    z_alpha = normal.inv_cdf(1 - alpha)
    effective = max(days / WIDER - z_alpha**2 / 2, 1.0)
    return normal.cdf(distance * np.sqrt(effective) / spread - z_alpha)
