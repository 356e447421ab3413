"""The arithmetic of windows, shared by all who compute one: the stream, its Flink job, the online store's readers
and the point-in-time join.

Means and counts are kept in tiles, of which a window has `TILES`: its head is exact to the last event, its tail moves
in steps of a tile (the sawtooth window of Chronon). Sums are whole numbers of `UNIT`s, so that they come out the same
in whatever order events arrive. The last value is that of the greatest (time, value), for the same reason.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import ContractError
from ml.features.definition import Window

TILES = 12  # of a window
UNIT = 2.0**-20  # of a sum
LARGEST = 2.0**20  # of a value in a sum: millions of them still fit a word
HOUR = 3600  # seconds
NEVER = -(2**62)  # seconds: before anything
WORDS = 1 + 2 * TILES  # of a tiled state: the newest tile, each slot's count, each slot's sum

Whole = NDArray[np.int64]
Floats = NDArray[np.float64]


def in_tiles(window: Window) -> bool:
    """Say whether a fold sums over its window, and does not only keep the last value."""
    return window.how in ("mean", "count")


def width(window: Window) -> int:
    """Return the seconds of a tile."""
    return window.hours * HOUR // TILES


def unit(value: float) -> int:
    """Return a value as a whole number of units; raises ContractError for one that a sum cannot hold."""
    if not abs(value) <= LARGEST:
        raise ContractError("features", f"{value:.3g} is too large for a sum", "Scale it in ml/problem/features.py")
    return round(value / UNIT)


def units(values: Floats) -> Whole:
    """Return values as whole numbers of units, as `unit` does for one."""
    for extreme in (values.min(initial=0), values.max(initial=0)):
        unit(float(extreme))
    return np.rint(values / UNIT).astype(np.int64)


def of_sums(mean: Any, count: Whole, total: Whole) -> Floats:
    """Return means, or counts where `mean` is false; NaN where nothing was counted."""
    return np.where(count > 0, np.where(mean, total * UNIT / np.maximum(count, 1), count), np.nan)


def of_last(age: Any, seconds: Any, time: Whole, value: Floats, at: Whole) -> Floats:
    """Return last values, or their age in hours where `age` is true; NaN where they are `seconds` old or older.

    What happened after `at` is not known: a store may be ahead of who asks.
    """
    return np.where((time <= at) & (at - time < seconds), np.where(age, (at - time) / HOUR, value), np.nan)


def of_tiles(mean: Any, width: Any, words: Whole, at: Whole) -> Floats:
    """Return means or counts of tiled states, [..., WORDS], of tiles of `width` seconds, at the moments `at`, [...]."""
    newest, counts, sums = words[..., :1], words[..., 1 : 1 + TILES], words[..., 1 + TILES :]
    tiles = newest - (newest - np.arange(TILES)) % TILES  # the tile that each slot holds
    behind = (at // width)[..., None] - tiles
    inside = (behind >= 0) & (behind < TILES)  # a store may be ahead of who asks
    return of_sums(mean, (counts * inside).sum(axis=-1), (sums * inside).sum(axis=-1))


def add(words: list[float], window: Window, time: int, value: float) -> list[float]:
    """Return a tiled state with one value more; tiles that the window has left behind are emptied as time goes on."""
    (newest, *slots), tile = words, time // width(window)
    for passed in range(max(int(newest), tile - TILES) + 1, tile + 1):
        slots[passed % TILES] = slots[passed % TILES + TILES] = 0
    newest = max(newest, tile)
    if tile > newest - TILES:
        slots[tile % TILES] += 1
        slots[tile % TILES + TILES] += unit(value)
    return [newest, *slots]
