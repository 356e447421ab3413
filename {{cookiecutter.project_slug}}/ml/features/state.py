"""The state of one entity in a feature group: a fixed number of words, however many events it was folded from.

The first word is the watermark, the time of the newest event; behind it lie each feature's own words.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.features.definition import Window
from ml.features.fold import HOUR, NEVER, WORDS, Floats, Whole, add, in_tiles, of_last, of_tiles, width


class Places(NamedTuple):
    """Where some features lie in a state, and what is to be known of each: a mean or an age, and tile or limit."""

    which: list[int]
    begin: Whole
    flag: NDArray[np.bool_]
    seconds: Whole


class Layout:
    """Where each window's words lie."""

    def __init__(self, windows: Sequence[Window]) -> None:
        sizes = [WORDS if in_tiles(window) else 2 for window in windows]
        begin = np.cumsum([1, *sizes]).tolist()
        self._slots = [
            (window, slice(start, start + size), in_tiles(window))
            for window, start, size in zip(windows, begin, sizes, strict=False)
        ]
        self._struct = struct.Struct("<q" + "".join(f"{WORDS}q" if in_tiles(window) else "qd" for window in windows))
        own = [[0] * WORDS if in_tiles(window) else [NEVER, 0.0] for window in windows]
        self._empty = self._struct.pack(NEVER, *(word for words in own for word in words))
        self._tiled, self._last = self._places(True, "mean"), self._places(False, "age")

    def unpack(self, state: bytes | None) -> list[float]:
        """Return the words of a state; None is the state of an entity to which nothing has happened."""
        return list(self._struct.unpack(state or self._empty))

    def pack(self, words: Sequence[float]) -> bytes:
        """Return words as a state."""
        return self._struct.pack(*words)

    def fold(self, words: list[float], time: int, values: Sequence[float]) -> None:
        """Fold one event's values, one a window, NaN for none, into words."""
        words[0] = max(words[0], time)
        for (window, own, tiled), value in zip(self._slots, values, strict=True):
            if value == value:
                found = words[own]
                words[own] = add(found, window, time, value) if tiled else max(tuple(found), (time, value + 0.0))

    def read(self, states: Sequence[bytes | None], at: Whole) -> tuple[list[Floats], Whole]:
        """Return each window's values at the moments `at`, [n], NaN where nothing fresh is known, and watermarks."""
        words = np.frombuffer(b"".join(state or self._empty for state in states), dtype="<i8")
        words, at = words.reshape(len(states), self._struct.size // 8), at[:, None]
        tiled, last = self._tiled, self._last
        found: dict[int, Floats] = {}
        if tiled.which:
            tiles = words[:, tiled.begin[:, None] + np.arange(WORDS)]
            found |= zip(tiled.which, of_tiles(tiled.flag, tiled.seconds, tiles, at).T, strict=True)
        if last.which:
            time, value = words[:, last.begin], words[:, last.begin + 1].view("<f8")
            found |= zip(last.which, of_last(last.flag, last.seconds, time, value, at).T, strict=True)
        return [found[place] for place in range(len(self._slots))], words[:, 0]

    def _places(self, tiled: bool, flag: str) -> Places:
        own = [(place, *slot[:2]) for place, slot in enumerate(self._slots) if slot[2] == tiled]
        return Places(
            [place for place, _, _ in own],
            np.array([words.start for _, _, words in own], dtype=np.int64),
            np.array([window.how == flag for _, window, _ in own], dtype=bool),
            np.array([width(window) if tiled else window.hours * HOUR for _, window, _ in own], dtype=np.int64),
        )
