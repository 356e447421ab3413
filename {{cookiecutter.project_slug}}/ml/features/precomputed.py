"""Scores that were computed beforehand, as those who serve find them in the online store.

The values of a run lie in a table of its own, and one pointer names the run that counts: it is written after all of
them, so that a reader sees a whole run or the one before. A store that is down costs a request nothing but its
precomputed scores, which are computed then.
"""

import hashlib
import json
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from ml.online.store import OnlineStore, Unavailable

HOME = b"scores/"
POINTER = HOME + b"current"
REFRESH = 1.0  # seconds for which a pointer is believed, and a store that did not answer is left alone

SCORE = struct.Struct("<d")


class Pointer(NamedTuple):
    """The run that counts: its name, the digest of the bundle that scored, and when it expires (seconds)."""

    run: str
    bundle: str
    expires: float

    def dump(self) -> bytes:
        """Return the pointer as it lies in the store."""
        return json.dumps(self._asdict()).encode()

    @classmethod
    def load(cls, value: bytes | None) -> "Pointer | None":
        """Return the pointer that lies in the store, None where there is none."""
        return cls(**json.loads(value)) if value else None


def table(run: str) -> bytes:
    """Return the name of a run's table."""
    return HOME + run.encode()


def name_of(key: Iterable[float | str | None]) -> bytes:
    """Return what names a record within a run: 16 bytes, a hash of its key's values in the order of the fields."""
    return hashlib.blake2b("\n".join(map(_text, key)).encode(), digest_size=16).digest()


# Every release of Python writes it alike, and without a line break; the values of a field come again and again.
_text = lru_cache(maxsize=100_000)(ascii)


class Precomputed:
    """Reads of one environment's precomputed scores."""

    def __init__(self, store: OnlineStore) -> None:
        self._store = store
        self._pointer: Pointer | None = None
        self._table, self._again = b"", 0.0

    def counts(self, now: datetime, bundle: str) -> bool:
        """Say whether a run of a bundle counts now: only then it is worth to name records."""
        try:
            pointer = self._current()
        except Unavailable:
            self._pointer, self._again = None, time.monotonic() + REFRESH
            return False
        return pointer is not None and pointer.bundle == bundle and now.timestamp() < pointer.expires

    def find(self, keys: Sequence[Mapping[str, float | str | None]], now: datetime, bundle: str) -> list[float | None]:
        """Return the score that a bundle gave each record, by `table.keys_of`; None where there is none that counts.

        One round trip to the store; the pointer costs another, at most every second.
        """
        if not keys or not self.counts(now, bundle):
            return [None] * len(keys)
        try:
            values = self._store.look_up(self._table, [name_of(key.values()) for key in keys])
        except Unavailable:
            self._pointer, self._again = None, time.monotonic() + REFRESH
            return [None] * len(keys)
        return [SCORE.unpack(value)[0] if value else None for value in values]

    def _current(self) -> Pointer | None:
        if (moment := time.monotonic()) >= self._again:
            self._pointer = Pointer.load(self._store.read([POINTER])[0])
            self._table = table(self._pointer.run) if self._pointer else b""
            self._again = moment + REFRESH
        return self._pointer
