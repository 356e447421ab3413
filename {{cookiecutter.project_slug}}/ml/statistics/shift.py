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

    def p_value(self, distance: float) -> float:
        """Return how often chance alone goes as far."""
        return float(fdtrc(self.numerator, self.denominator, distance**2 / self.mean))

    def threshold(self, level: float, floor: float) -> float:
        """Return the distance that chance exceeds with probability `level`, for a shift of `floor` at least."""
        by_chance = self.mean * fdtri(self.numerator, self.denominator, 1 - level)
        return float(min(1, np.sqrt(max(by_chance, self.mean + floor**2))))

    def power(self, shift: float, threshold: float) -> float:
        """Return how often a true distance of `shift` is seen beyond a threshold, where days hide it best."""
        variance = 2 * self.mean**2 / self.numerator + 2 * shift**2 * self.widest
        return float(ndtr((shift**2 + self.mean - threshold**2) / np.sqrt(variance)))

    def beyond(self, distance: float) -> float:
        """Return the shift that is left of a distance once what chance adds on average is taken off."""
        return float(np.sqrt(max(distance**2 - self.mean, 0)))


@dataclass(frozen=True)
class Days:
    """A reference of one variable, day by day: counts [days, cells], the season of each day [days], the run of days.

    Seasons, such as weekdays, are told apart where the reference holds each of them `OFTEN` times. Days hang together
    over about `run` days; covariances are taken over twice as many, so that what is left beyond a run counts as well.
    """

    counts: Floats
    seasons: NDArray[np.int64]
    run: int

    @property
    def _lags(self) -> int:
        return max(1, min(2 * self.run, len(self.counts) // 2))

    @property
    def _free(self) -> int:
        """Days that are left to learn from once each season has its own mean."""
        return max(1, len(self.counts) - len(np.unique(self._told_apart)))

    @cached_property
    def _told_apart(self) -> NDArray[np.int64]:
        often = np.bincount(self.seasons)
        return self.seasons if often[often > 0].min() >= OFTEN else np.zeros_like(self.seasons)

    @cached_property
    def _by_season(self) -> Floats:
        """Shares by season, [seasons, cells]; cells that are rare lean on the whole."""
        seasons = np.eye(self._told_apart.max() + 1)[self._told_apart]
        sums = seasons.T @ self.counts + shares(self.counts.sum(axis=0))
        return np.asarray(sums / sums.sum(axis=1, keepdims=True))

    def expected(self, seasons: NDArray[np.int64], rows: Floats) -> Floats:
        """Return the shares that a window has without a shift, whose days have such seasons and so many rows."""
        place = seasons if self._told_apart is self.seasons else np.zeros_like(seasons)
        return np.asarray(rows @ self._by_season[place] / rows.sum())

    def chance(self, rows: float, days: int) -> Chance:
        """Return what chance does to a window of `rows` rows that are spread over `days` days."""
        between, within = self._covariances
        own_rows, own_days = self.counts.sum(), len(self.counts)
        of_days = between * (1 / days + 1 / own_days)
        whole = of_days + within * (1 / rows + 1 / own_rows)
        trace = float(np.trace(whole))
        freedom = max(self._free / self._lags - 1, 2.0)
        return Chance(
            mean=trace / 2,
            numerator=trace**2 / float((whole * whole).sum()),
            denominator=freedom * trace / max(float(np.trace(of_days)), trace / 1e3),
            widest=float(np.linalg.eigvalsh(whole)[-1]),
        )

    @cached_property
    def _covariances(self) -> tuple[Floats, Floats]:
        """The long-run covariance of a day, and that of a row, of the terms; [cells, cells] each."""
        sizes, usual = self.counts.sum(axis=1), shares(self.counts.sum(axis=0))
        expected = sizes[:, None] * self._by_season[self._told_apart]
        apart = (self.counts - expected) / sizes.mean() / (2 * np.sqrt(usual))
        total = apart.T @ apart
        for lag in range(1, self._lags):
            lagged = apart[lag:].T @ apart[:-lag]
            total += (1 - lag / self._lags) * (lagged + lagged.T)
        within = (np.eye(len(usual)) - np.sqrt(np.outer(usual, usual))) / 4
        values, vectors = np.linalg.eigh(total / self._free - within / sizes.mean())
        return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T), within
