"""What the stream's messages say: events as JSON, and updates, each for one feature group and entity.

One that cannot be read, or folded, is poison: it goes to the dead letters with the reason, and the stream goes on.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml.features.definition import Event
from ml.features.fold import LARGEST, NEVER, in_tiles
from ml.features.group import Update
from ml.features.table import GROUPS, columns_of
from ml.features.updater import Change, changes_of

AHEAD = timedelta(minutes=1)  # by which clocks may differ: an event later than that would make all others late
LONGEST = 100_000  # bytes of a message: its updates, and its dead letter, are larger, and a broker takes a million
LONGEST_KEY = 500  # bytes of a state's key: LMDB has an end there


class Poison(Exception):
    """A message that no one can use; its text is the reason."""


class Message(NamedTuple):
    """What was read, and where it stood: a topic, partition and offset, or a file, 0 and the offset of its byte."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes


class Letter(NamedTuple):
    """A dead letter."""

    message: Message
    reason: str


class _Update(BaseModel):
    """An update on its way to the owner of its entity; null stands for NaN."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    time: Annotated[int, Field(gt=NEVER, lt=-NEVER)]
    values: list[float | None]


def event_of(kind: type[Event], value: bytes, now: datetime) -> Event:
    """Return the event that a message tells; raises Poison."""
    if len(value) > LONGEST:
        raise Poison(f"It is longer than {LONGEST} bytes")
    try:
        event = kind.model_validate_json(value)
    except ValidationError as error:
        raise _poison(error) from error
    if event.time > now + AHEAD:
        raise Poison(f"time: {event.time.isoformat()} is in the future")
    return event


def rekeyed(kind: type[Event], messages: Sequence[Message], now: datetime) -> tuple[list[Change], list[Letter]]:
    """Return what messages about a kind of events mean to each group and entity, and the dead ones."""
    try:
        return _rekeyed(kind, messages, now), []
    except Exception:  # also of a value's function: one by one, it costs its own message and no other
        changes, dead = [], []
        for message in messages:
            try:
                changes += _rekeyed(kind, [message], now)
            except Exception as error:
                dead.append(Letter(message, str(error) if isinstance(error, Poison) else repr(error)))
        return changes, dead


def _rekeyed(kind: type[Event], messages: Sequence[Message], now: datetime) -> list[Change]:
    """Return what messages mean; raises Poison, or whatever else one of them brings about."""
    if not messages:
        return []
    changes = changes_of(kind, columns_of([event_of(kind, message.value, now) for message in messages], kind))
    for change in changes:
        if reason := _refusal(change):
            raise Poison(reason)
    return changes


def encoded(change: Change) -> tuple[bytes, bytes]:
    """Return a change as the key and the value of a message."""
    id, time, values = change.update
    told = {"id": id, "time": time, "values": [None if value != value else value for value in values]}
    return change.group.key(change.entity), json.dumps(told).encode()


def decoded(messages: Iterable[Message]) -> tuple[list[Change], list[Letter]]:
    """Return the changes that messages tell, and the dead ones."""
    changes, dead = [], []
    for message in messages:
        try:
            changes.append(_change(message))
        except Poison as poison:
            dead.append(Letter(message, str(poison)))
    return changes, dead


def _change(message: Message) -> Change:
    name, version, entity = [*message.key.decode(errors="replace").split("/", 2), "", ""][:3]
    group = next((group for group in GROUPS if (group.name, group.version) == (name, version)), None)
    if group is None or group.key(entity) != message.key:
        raise Poison(f"key: {name}/{version} is no feature group of today's definitions")
    try:
        told = _Update.model_validate_json(message.value)
    except ValidationError as error:
        raise _poison(error) from error
    if len(told.values) != len(group.features):
        raise Poison(f"values: {len(told.values)} instead of {len(group.features)}")
    values = tuple(float("nan") if value is None else value for value in told.values)
    change = Change(group, entity, Update(told.id, told.time, values))
    if reason := _refusal(change):
        raise Poison(reason)
    return change


def _refusal(change: Change) -> str | None:
    """Return why the store would not take a change, which would stop the stream: None where it will."""
    if len(change.group.key(change.entity)) > LONGEST_KEY:
        return f"The name of the entity is too long for a key of {LONGEST_KEY} bytes"
    for feature, window, value in zip(change.group.features, change.group.windows, change.update.values, strict=True):
        if abs(value) > (LARGEST if in_tiles(window) else sys.float_info.max):
            return f"{feature.name}: {value:.3g} is too large"
    return None


def _poison(error: ValidationError) -> Poison:
    """Return the first breach of a schema as field and reason."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return Poison(": ".join([*filter(None, [".".join(map(str, first["loc"]))]), first["msg"]]))
