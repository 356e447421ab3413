"""Bounds that hold at all times at once, so that whoever looks every day errs no more often than who looks once.

An asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021): Robbins' normal mixture, in
information time, which is one over the squared standard error. Clusters that grow while one looks are why time is
counted in information and not in rows: an entity's hundredth row says less than its first.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import lambertw


@dataclass(frozen=True)
class Anytime:
    """An estimate with its standard error at one look, bounded at all looks; narrowest where `reach` wide.

    `reach`, in the estimate's unit, has to be fixed beforehand: a margin is.
    """

    value: float
    error: float
    reach: float

    def low(self, alpha: float) -> float:
        """Return the lower bound: the truth lies below it, at any look, at most with probability `alpha`."""
        return self.value - radius(self.error, self.reach, 2 * alpha)

    def high(self, alpha: float) -> float:
        """Return the upper bound, in the same way."""
        return self.value + radius(self.error, self.reach, 2 * alpha)


def radius(error: float, reach: float, alpha: float) -> float:
    """Return half the width of the two-sided sequence at level 1 - `alpha`, where the standard error is `error`.

    With v = error² and the mixture's variance r² it is sqrt(v (r² + v) / r² · log((r² + v) / (v alpha²))). The width at
    one look is smallest where r² / v solves c = log((c + 1) / alpha²); there it is sqrt(c + 1) errors, so r² follows
    from `reach`. At 0.05 that is 3.0 errors, where a single look takes 2.0.
    """
    if error == 0:
        return 0.0
    c = float(-lambertw(-(alpha**2) / np.e, k=-1).real) - 1
    mixture, variance = reach**2 * c / (c + 1), error**2
    return float(np.sqrt(variance * (1 + variance / mixture) * np.log((1 + mixture / variance) / alpha**2)))
