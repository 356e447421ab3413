"""How far a window's distribution lies from the reference's, and how far it would by chance.

The distance is Hellinger's (1909) between the shares of the same cells: 0 for equal, 1 for nothing in common, whatever
the type of the variable. A window differs from the reference because rows are drawn, because days differ, and because
good and bad days come in runs. To first order the squared distance is half the sum of squares, over the cells, of

    (share in the window - share in the reference) / (2 root of the share in the reference),

whose covariance is that of days, summed over the lags of a run (Newey and West 1987), plus that of drawing rows. The
squared distance over its mean then follows nearly an F distribution (Box 1954; Brunner, Dette and Munk 1997).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, fdtri, ndtr

from ml.statistics.longrun import LongRun, long_run

Floats = NDArray[np.float64]

SMOOTHING = 0.5  # pseudo-count a cell
EMPTY = 1e-4  # share that the index takes an empty cell for, as is usual
OFTEN = 4  # days of every season that a reference has to hold before its seasons are told apart


def hellinger(one: Floats, other: Floats) -> Floats:
    """Return the Hellinger distance of shares over the last axis, in 0..1."""
    return np.asarray(np.sqrt(np.maximum(1 - np.sqrt(one * other).sum(axis=-1), 0)))


def psi(one: Floats, other: Floats) -> float:
    """Return the population stability index of two shares, about eight times the squared distance where they are close.

    It is shown for those who know it by heart, and judges nothing.
    """
    one, other = np.maximum(one, EMPTY), np.maximum(other, EMPTY)
    return float(((one - other) * np.log(one / other)).sum())


def shares(counts: Floats) -> Floats:
    """Return the shares of counts over the last axis, none of them 0."""
    smoothed = np.asarray(counts, dtype=np.float64) + SMOOTHING
    return np.asarray(smoothed / smoothed.sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class Chance:
    """What the squared distance of a window is without a shift: its mean, and the degrees of freedom of its F.

    `widest` is the variance of the terms in the direction in which they vary most.
    """

    mean: float
    numerator: float
    denominator: float
    widest: float

    def p_value(self, distance: float, floor: float) -> float:
        """Return how often a window would be as far by chance, where the shift is `floor` at most."""
        beyond = max(distance**2 - floor**2, 0)
        return float(fdtrc(self.numerator, self.denominator, beyond / self.mean))

    def threshold(self, level: float, floor: float) -> float:
        """Return the distance whose p-value is `level`."""
        by_chance = self.mean * fdtri(self.numerator, self.denominator, 1 - level)
        return float(min(1, np.sqrt(by_chance + floor**2)))

    def power(self, shift: float, threshold: float) -> float:
        """Return how often a true distance of `shift` is seen beyond a threshold, where days hide it best."""
        variance = 2 * self.mean**2 / self.numerator + 2 * shift**2 * self.widest
        return float(ndtr((shift**2 + self.mean - threshold**2) / np.sqrt(variance)))


@dataclass(frozen=True)
class Days:
    """A reference of one variable, day by day: counts [days, cells], the season of each day [days], the run of days.

    Seasons, such as weekdays, are told apart where the reference holds each of them `OFTEN` times.
    """

    counts: Floats
    seasons: NDArray[np.int64]
    run: int

    @cached_property
    def _told_apart(self) -> NDArray[np.int64]:
        often = np.bincount(self.seasons)
        return self.seasons if often[often > 0].min() >= OFTEN else np.zeros_like(self.seasons)

    @cached_property
    def _by_season(self) -> Floats:
        """Shares by season, [seasons, cells]; cells that are rare lean on the whole."""
        seasons = np.eye(self._told_apart.max() + 1)[self._told_apart]
        sums = seasons.T @ self.counts + self._usual
        return np.asarray(sums / sums.sum(axis=1, keepdims=True))

    def expected(self, seasons: NDArray[np.int64], rows: Floats) -> Floats:
        """Return the shares that a window has without a shift, whose days have such seasons and so many rows."""
        place = seasons if self._told_apart is self.seasons else np.zeros_like(seasons)
        return np.asarray(rows @ self._by_season[place] / rows.sum())

    def chance(self, rows: float, days: int) -> Chance:
        """Return what chance does to a window of `rows` rows that are spread over `days` days."""
        between, within, freedom = self._between, self._within, self._long_run.freedom
        of_days = between * (1 / days + 1 / len(self.counts))
        whole = of_days + within * (1 / rows + 1 / self.counts.sum())
        trace = float(np.trace(whole))
        return Chance(
            mean=trace / 2,
            numerator=trace**2 / float((whole * whole).sum()),
            denominator=freedom * trace / max(float(np.trace(of_days)), trace / 1e3),
            widest=float(np.linalg.eigvalsh(whole)[-1]),
        )

    @cached_property
    def _usual(self) -> Floats:
        return shares(self.counts.sum(axis=0))

    @cached_property
    def _long_run(self) -> LongRun:
        sizes = self.counts.sum(axis=1)
        expected = sizes[:, None] * self._by_season[self._told_apart]
        terms = (self.counts - expected) / sizes.mean() / (2 * np.sqrt(self._usual))
        return long_run(terms, self.run, len(np.unique(self._told_apart)))

    @cached_property
    def _within(self) -> Floats:
        """The covariance of the terms of one row, [cells, cells]."""
        return np.asarray((np.eye(len(self._usual)) - np.sqrt(np.outer(self._usual, self._usual))) / 4)

    @cached_property
    def _between(self) -> Floats:
        """The covariance of a day without what drawing its rows adds, [cells, cells]."""
        values, vectors = np.linalg.eigh(self._long_run.covariance - self._within / self.counts.sum(axis=1).mean())
        return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T)
