"""What is known of the entities of records now: read from the online store, or nothing when it does not answer.

A store that is down costs a request nothing but its windowed features: they get their defaults, and the store is tried
again once a moment has passed.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np

from ml.features.definition import Columns
from ml.features.fold import Floats, Whole
from ml.features.group import Group, entities
from ml.features.table import GROUPS
from ml.online.store import OnlineStore, Unavailable

PAUSE = 1.0  # seconds for which a store that did not answer is left alone


class Known(NamedTuple):
    """Windowed features by name and as-of times by group (seconds), each [n]: NaN and `fold.NEVER` for unknown."""

    features: dict[str, Floats]
    as_of: dict[str, Whole]


class Online:
    """Reads of one environment's online store."""

    def __init__(self, store: OnlineStore, groups: Sequence[Group] = GROUPS) -> None:
        self._store, self._groups = store, groups
        self._again = 0.0
        self.down: str | None = None  # why it did not answer when it was last asked

    def ask(self) -> str | None:
        """Return why the store does not answer now, or None."""
        self._states([b"nothing"])
        return self.down

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def known(self, records: Columns, now: datetime) -> Known:
        """Return what is known of the records' entities as of `now`, in one round trip to the store."""
        named = {group: entities(group, records) for group in self._groups}
        keys = {group: [None if each is None else group.key(each) for each in own] for group, own in named.items()}
        states = self._states(sorted({key for own in keys.values() for key in own if key}))
        found = Known({}, {})
        for group, own in keys.items():
            at = np.full(len(own), int(now.timestamp()))
            values, as_of = group.read([states.get(key) if key else None for key in own], at)
            found.features.update(values)
            found.as_of[group.name] = as_of
        return found

    def _states(self, keys: list[bytes]) -> dict[bytes, bytes | None]:
        """Return the states of entities by key; none of a store that is down."""
        if not keys or time.monotonic() < self._again:
            return {}
        try:
            states = dict(zip(keys, self._store.read(keys), strict=True))
        except Unavailable as unavailable:
            self.down, self._again = str(unavailable), time.monotonic() + PAUSE
            return {}
        self.down = None
        return states
