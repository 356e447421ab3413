"""A feature group: the windowed features of one kind of events and one entity, and the state they are folded in.

A state is a fixed number of words, however many events it was folded from. The watermark of an entity is the time of
its newest event. What happened before the watermark less the longest window cannot be in any window again: it is late,
and dropped; for as long are ids remembered, by which an event that comes twice counts once.
"""

import hashlib
import inspect
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.features.definition import Columns, Event, Feature, Window
from ml.features.fold import HOUR, NEVER, WORDS, Floats, Whole, add, in_tiles, of_last, of_tiles, width

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


class Places(NamedTuple):
    """Where some features lie in a state, and what is to be known of each: a mean or an age, and tile or limit."""

    names: list[str]
    places: Whole
    flags: NDArray[np.bool_]
    seconds: Whole


@dataclass(frozen=True, eq=False)
class Group:
    """Features that are written and read together."""

    name: str
    features: tuple[Feature, ...]

    @property
    def windows(self) -> list[Window]:
        """The features' windows, in the order of the definitions."""
        return [feature.window for feature in self.features if feature.window]

    @property
    def events(self) -> type[Event]:
        """The kind of events that is folded."""
        return self.windows[0].events

    @property
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
        told = [(feature.name, each.how, each.hours, _text(each)) for feature, each in self._pairs]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:8]

    def key(self, entity: str) -> bytes:
        """Return where the state of an entity lies in the online store."""
        return f"{self.name}/{self.version}/{entity}".encode()

    def update(self, state: bytes | None, seen: bytes | None, updates: Iterable[Update]) -> Folded:
        """Fold events into a state; one that was seen, or is late, changes nothing."""
        words = list(self._layout.unpack(state or self._empty))
        known = np.frombuffer(seen or b"", SEEN)
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
                words[0] = max(words[0], update.time)
                self._fold(words, update)
                folded += 1
        known = np.concatenate([known, np.array(fresh, SEEN)])
        kept = known[known["time"] > words[0] - self.horizon]
        return Folded(self._layout.pack(*words), kept.tobytes(), folded, duplicate, late)

    def read(self, states: Sequence[bytes | None], at: Whole) -> tuple[dict[str, Floats], Whole]:
        """Return each feature's values at the moments `at`, [n], NaN where nothing fresh is known, and as-of times.

        The as-of time of a state is when the newest event that it knows happened: seconds, `NEVER` for none.
        """
        words = np.frombuffer(b"".join(state or self._empty for state in states), dtype="<i8")
        words, at = words.reshape(len(states), -1), at[:, None]
        tiled, last = self._places
        own = words[:, tiled.places[:, None] + np.arange(WORDS)]
        values = of_tiles(tiled.flags, tiled.seconds, own, at)
        time, value = words[:, last.places], words[:, last.places + 1].view("<f8")
        newest = of_last(last.flags, last.seconds, time, value, at)
        columns = zip((*tiled.names, *last.names), (*values.T, *newest.T), strict=True)
        return dict(columns), words[:, 0]

    @property
    def _pairs(self) -> list[tuple[Feature, Window]]:
        return list(zip(self.features, self.windows, strict=True))

    @cached_property
    def _places(self) -> tuple["Places", "Places"]:
        """Where the features' words are in a state: those in tiles, and those that keep the last value."""
        begin = np.cumsum([1, *map(_words, self.windows)])
        parts: list[Places] = []
        for tiled, flag in ((True, "mean"), (False, "age")):
            own = [(place, *pair) for place, pair in zip(begin.tolist(), self._pairs, strict=False)]
            own = [each for each in own if in_tiles(each[2]) == tiled]
            seconds = [width(window) if tiled else window.hours * HOUR for _, _, window in own]
            parts.append(
                Places(
                    [feature.name for _, feature, _ in own],
                    np.array([place for place, _, _ in own], dtype=np.int64),
                    np.array([window.how == flag for _, _, window in own], dtype=bool),
                    np.array(seconds, dtype=np.int64),
                )
            )
        return parts[0], parts[1]

    @cached_property
    def _layout(self) -> struct.Struct:
        """The words of a state: the newest event's time, then each feature's own."""
        return struct.Struct("<q" + "".join(f"{WORDS}q" if in_tiles(each) else "qd" for each in self.windows))

    @cached_property
    def _empty(self) -> bytes:
        """The state of an entity to which nothing has happened."""
        own = [[0] * WORDS if in_tiles(each) else [NEVER, 0.0] for each in self.windows]
        return self._layout.pack(NEVER, *(word for words in own for word in words))

    def _fold(self, words: list[float], update: Update) -> None:
        place = 1
        for window, value in zip(self.windows, update.values, strict=True):
            own = slice(place, place + _words(window))
            if value == value:
                if in_tiles(window):
                    words[own] = add(words[own], window, update.time, value)
                else:
                    words[own] = max(tuple(words[own]), (update.time, value))
            place += _words(window)


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
    return np.array([None if any(map(_absent, each)) else "|".join(map(str, each)) for each in parts], dtype=object)


def updates(group: Group, events: Columns) -> list[tuple[str, Update]]:
    """Return what events mean to a group: the entity and its update; an event without the entity means nothing."""
    times = events["time"].astype("datetime64[s]").astype(np.int64).tolist()
    values = zip(*(window.values(events).tolist() for window in group.windows), strict=True)
    told = zip(entities(group, events), events["id"].tolist(), times, values, strict=True)
    return [(entity, Update(mark, time, given)) for entity, mark, time, given in told if entity is not None]


def _absent(value: object) -> bool:
    return value is None or value != value


def _words(window: Window) -> int:
    return WORDS if in_tiles(window) else 2


def _text(window: Window) -> str:
    """Return what says how an event's value is made: a field's name, or the text of a function."""
    return inspect.getsource(window.value) if callable(window.value) else str(window.value)


def _mark(id: str) -> int:
    """Return 64 bits of an id's hash: two of a million ids are alike once in ten million times."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "little")
