"""Folds updates into the online store: states, the ids seen, and how far the source was read, in one transaction."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ml.features.definition import Columns, Event
from ml.features.group import Group, Update, updates
from ml.features.table import GROUPS
from ml.online.store import OnlineStore, Values


class Change(NamedTuple):
    """What one event means to one entity of a group."""

    group: Group
    entity: str
    update: Update


class Taken(NamedTuple):
    """What became of updates: folded, seen before, or too late to be in any window."""

    folded: int = 0
    duplicate: int = 0
    late: int = 0


class Overtaken(Exception):
    """Another process has read on from where this one stood: it is the owner now."""


class Position(NamedTuple):
    """How far a source was read: under `key` must stand `was`, and `is_now` is put there with the states."""

    key: bytes
    was: bytes | None
    is_now: bytes


def changes_of(kind: type[Event], events: Columns) -> list[Change]:
    """Re-key events: return what they mean to each group and entity, in the order of the events."""
    groups = [group for group in GROUPS if group.events is kind]
    return [Change(group, entity, update) for group in groups for entity, update in updates(group, events)]


def take(
    store: OnlineStore,
    changes: Iterable[Change],
    position: Position | None = None,
    tell: Callable[[str, Taken], None] = lambda group, taken: None,
) -> Taken:
    """Fold changes into the store, with the position or not at all; `tell` hears of each group once that is done.

    Raises Overtaken when the position has moved meanwhile, Unavailable when the store does not answer.
    """
    by_entity: dict[tuple[Group, str], list[Update]] = {}
    for change in changes:
        by_entity.setdefault((change.group, change.entity), []).append(change.update)
    states = [group.key(entity) for group, entity in by_entity]
    keys = [*states, *(_seen(key) for key in states), *([position.key] if position else [])]
    counted: dict[str, Taken] = {}

    def folded_into(values: Values) -> Mapping[bytes, bytes]:
        if position and values[-1] != position.was:
            raise Overtaken(position.key.decode())
        counted.clear()
        written = {position.key: position.is_now} if position else {}
        for place, ((group, _), own) in enumerate(by_entity.items()):
            folded = group.update(values[place], values[len(states) + place], own)
            written[states[place]], written[_seen(states[place])] = folded.state, folded.seen
            counted[group.name] = total([counted.get(group.name, Taken()), Taken(*folded[2:])])
        return written

    if keys:
        store.update(keys, folded_into)
    for name, taken in counted.items():
        tell(name, taken)
    return total(counted.values())


def total(taken: Iterable[Taken]) -> Taken:
    """Return what became of all updates together."""
    return Taken(*map(sum, zip(Taken(), *taken, strict=True)))


def _seen(key: bytes) -> bytes:
    return b"seen/" + key
