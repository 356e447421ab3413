"""A feature group: the windowed features of one kind of events and one entity, which are written and read together.

The watermark of an entity is the time of its newest event. What happened before the watermark less the longest window
cannot be in any window again: it is late, and dropped; for as long are ids remembered, by which an event that comes
twice counts once.
"""

import hashlib
import inspect
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.errors import ContractError
from ml.features.definition import Columns, Event, Feature, Window
from ml.features.fold import HOUR, TILES, UNIT, Floats, Whole
from ml.features.state import Layout

SEEN = np.dtype([("mark", "<u8"), ("time", "<i8")])  # an id, and when its event happened


class Update(NamedTuple):
    """What one event means to one entity: `time` in seconds, `values` one a feature of the group, NaN for none."""

    id: str
    time: int
    values: tuple[float, ...]


class Folded(NamedTuple):
    """The state and the remembered ids of one entity after some updates, and what became of these."""

    state: bytes
    seen: bytes
    folded: int
    duplicate: int
    late: int


@dataclass(frozen=True, eq=False)
class Group:
    """Features that are written and read together."""

    name: str
    features: tuple[Feature, ...]

    @cached_property
    def windows(self) -> list[Window]:
        """The features' windows, in the order of the definitions."""
        return [feature.window for feature in self.features if feature.window]

    @cached_property
    def events(self) -> type[Event]:
        """The kind of events that is folded."""
        return self.windows[0].events

    @cached_property
    def entity(self) -> tuple[str, ...]:
        """The fields that name the entity."""
        return self.windows[0].entity

    @cached_property
    def horizon(self) -> int:
        """Seconds after which an event can be in no window."""
        return max(window.hours for window in self.windows) * HOUR

    @cached_property
    def version(self) -> str:
        """Names the definitions: a state that was folded by others is never read as one of these."""
        pairs = zip(self.features, self.windows, strict=True)
        told = [TILES, UNIT, *((feature.name, each.how, each.hours, _text(each)) for feature, each in pairs)]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:8]

    def key(self, entity: str) -> bytes:
        """Return where the state of an entity lies in the online store."""
        return f"{self.name}/{self.version}/{entity}".encode()

    def update(self, state: bytes | None, seen: bytes | None, updates: Iterable[Update]) -> Folded:
        """Fold events into a state; one that was seen, or is late, changes nothing."""
        words, known = self._layout.unpack(state), np.frombuffer(seen or b"", SEEN)
        ids, fresh = set(known["mark"].tolist()), []
        folded = duplicate = late = 0
        for update in updates:
            if (mark := _mark(update.id)) in ids:
                duplicate += 1
            elif update.time <= words[0] - self.horizon:
                late += 1
            else:
                ids.add(mark)
                fresh.append((mark, update.time))
                self._layout.fold(words, update.time, update.values)
                folded += 1
        known = np.concatenate([known, np.array(fresh, SEEN)])
        kept = known[known["time"] > words[0] - self.horizon]
        return Folded(self._layout.pack(words), kept.tobytes(), folded, duplicate, late)

    def read(self, states: Sequence[bytes | None], at: Whole) -> tuple[dict[str, Floats], Whole]:
        """Return each feature's values at the moments `at`, [n], NaN where nothing fresh is known, and as-of times.

        The as-of time of a state is when the newest event that it knows happened: seconds, `fold.NEVER` for none.
        """
        values, as_of = self._layout.read(states, at)
        return {feature.name: value for feature, value in zip(self.features, values, strict=True)}, as_of

    @cached_property
    def _layout(self) -> Layout:
        return Layout(self.windows)


def groups_of(features: Iterable[Feature]) -> tuple[Group, ...]:
    """Return the groups of the windowed features, in the order of the definitions."""
    found: dict[str, list[Feature]] = {}
    for feature in features:
        if feature.window:
            found.setdefault(feature.window.group, []).append(feature)
    return tuple(Group(name, tuple(members)) for name, members in found.items())


def entities(group: Group, columns: Columns) -> NDArray[np.object_]:
    """Return the entity of each record or event, None where a field of it is missing."""
    if len(group.entity) == 1 and columns[group.entity[0]].dtype == object:
        return columns[group.entity[0]]
    parts = zip(*(columns[name].tolist() for name in group.entity), strict=True)
    return np.array([None if any(map(_absent, each)) else json.dumps(each) for each in parts], dtype=object)


def updates(group: Group, events: Columns) -> list[tuple[str, Update]]:
    """Return what events mean to a group: the entity and its update; an event without the entity means nothing."""
    times = events["time"].astype("datetime64[s]").astype(np.int64).tolist()
    values = zip(*(window.values(events).tolist() for window in group.windows), strict=True)
    told = zip(entities(group, events), events["id"].tolist(), times, values, strict=True)
    return [(entity, Update(mark, time, given)) for entity, mark, time, given in told if entity is not None]


def _absent(value: object) -> bool:
    return value is None or value != value


def _text(window: Window) -> str:
    """Return what says how an event's value is made: a field, or a function's text and the constants that it names."""
    if not callable(window.value):
        return str(window.value)
    try:
        told, named = inspect.getsource(window.value), inspect.getclosurevars(window.value).globals
    except (TypeError, OSError) as error:
        mend = "Write it with `def` or `lambda` in ml/problem/features.py"
        raise ContractError("features", f"{window.value!r} is no function whose text is known", mend) from error
    constants = {name: value for name, value in named.items() if isinstance(value, (int, float, str, tuple))}
    return told + repr(sorted(constants.items()))


def _mark(id: str) -> int:
    """Return 64 bits of an id's hash: two of a million ids are alike once in ten million times."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "little")
