"""What is known of the entities of records now: read from the online store, or nothing when it does not answer.

A store that is down costs a request its windowed features: they get their defaults, and the store is tried again once a
moment has passed. One that hangs costs all requests of that moment a quarter of a second as well.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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

    def where(self, rows: NDArray[np.bool_]) -> "Known":
        """Return the chosen rows."""
        features = {name: values[rows] for name, values in self.features.items()}
        return Known(features, {name: times[rows] for name, times in self.as_of.items()})


class Memo:
    """A group's values in one second: the same state says the same all through it, and busy entities come up often."""

    def __init__(self, group: Group, second: int) -> None:
        self._group, self._second = group, second
        self._places: dict[str | None, int] = {}
        self._states: list[bytes | None] = []
        self._values = np.empty((len(group.features), 0))
        self._as_of = np.empty(0, dtype=np.int64)

    def at(self, second: int) -> "Memo":
        """Return the memo of a second: this one while it lasts."""
        return self if second == self._second else Memo(self._group, second)

    def read(self, named: Sequence[str | None], states: Mapping[str | None, bytes | None]) -> tuple[Floats, Whole]:
        """Return values, [features, n], and as-of times, [n], of entities with these states; None is unknown."""
        fresh = [each for each in (None, *states) if not self._holds(each, states.get(each))]
        if fresh:
            told = [states.get(each) for each in fresh]
            values, as_of = self._group.read(told, np.full(len(fresh), self._second))
            self._places |= zip(fresh, range(len(self._states), len(self._states) + len(fresh)), strict=True)
            self._states += told
            self._values = np.concatenate([self._values, np.stack(list(values.values()))], axis=1)
            self._as_of = np.concatenate([self._as_of, as_of])
        rows = np.fromiter(map(self._places.__getitem__, named), dtype=np.int64, count=len(named))
        return self._values[:, rows], self._as_of[rows]

    def _holds(self, entity: str | None, state: bytes | None) -> bool:
        place = self._places.get(entity)
        return place is not None and self._states[place] == state


class Online:
    """Reads of one environment's online store."""

    def __init__(self, store: OnlineStore, groups: Sequence[Group] = GROUPS) -> None:
        self._store, self._groups = store, groups
        self._memos = {group: Memo(group, 0) for group in groups}
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
        named = {group: entities(group, records).tolist() for group in self._groups}
        keys = {group: {each: group.key(each) for each in set(own) if each is not None} for group, own in named.items()}
        states = self._states([key for own in keys.values() for key in own.values()])
        found, second = Known({}, {}), int(now.timestamp())
        for group, own in named.items():
            memo = self._memos[group] = self._memos[group].at(second)
            values, as_of = memo.read(own, {each: states.get(key) for each, key in keys[group].items()})
            found.features.update(zip((feature.name for feature in group.features), values, strict=True))
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
