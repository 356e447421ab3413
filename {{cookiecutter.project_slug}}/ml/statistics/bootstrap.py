"""Resampling days: rows of one day are not independent, so intervals and thresholds resample whole days.

Days follow each other, so they are taken in blocks where a window is imitated (circular block bootstrap,
Politis and Romano 1992).
"""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def resampled_days(days: int, draws: int, seed: int, *, length: int | None = None, block: int = 1) -> Indices:
    """Return indices of days, [draws, length]: `length` days a draw (all by default), in blocks of `block` days."""
    length = days if length is None else length
    blocks = -(-length // block)
    starts = np.random.default_rng(seed).integers(0, days, (draws, blocks))
    drawn = (starts[:, :, None] + np.arange(block)) % days
    return np.asarray(drawn.reshape(draws, -1)[:, :length], dtype=np.int64)


def ratio_of_sums(sums: NDArray[np.float64], sizes: NDArray[np.float64], drawn: Indices) -> NDArray[np.float64]:
    """Return sum over size of each draw, [draws], from the sums and sizes of single days, [days]."""
    return np.asarray(sums[drawn].sum(axis=1) / np.maximum(sizes[drawn].sum(axis=1), np.finfo(np.float64).tiny))


def interval(values: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of resampled values; NaN among them are left out, NaN where none is left."""
    if np.isnan(values).all():
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)
