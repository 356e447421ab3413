"""What a feature is: a name, a kind, a sentence, and one definition that serves training, serving and the stream.

A row feature is a pure function of the record. A windowed feature folds what happened to an entity of the record,
a customer or a shop, shortly before; `ml.features.fold` says how.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict

from ml.errors import ContractError

Array = NDArray[Any]
Columns = Mapping[str, Array]  # one array a field, all of one length: a single record has arrays of length one
Kind = Literal["number", "category"]
MEND = "Edit ml/problem/features.py"
How = Literal["mean", "count", "last", "age"]


class Event(BaseModel):
    """Something that happened to entities, at `time`; the same `id` again is the same event again.

    A subclass adds the entities and what features are made of.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: str
    time: AwareDatetime


@dataclass(frozen=True)
class Window:
    """What a windowed feature folds: events of one kind that happened to the record's entity in the last hours.

    `entity` are fields of the record and, by the same names, of the event. `value` is a field of the event, or a
    function of the events' columns; an event without a value (NaN) is passed over, and None stands for 1. `hours` is
    the freshness limit: what happened longer ago does not count. `how` they are folded: the mean or the count of
    values, the last value, or its age in hours. `bounds` are those of a field's values, or declared for a function's.
    """

    events: type[Event]
    entity: tuple[str, ...]
    value: str | Callable[[Columns], Array] | None
    how: How
    hours: int
    default: float
    bounds: tuple[float | None, float | None]

    @property
    def group(self) -> str:
        """The feature group: what is read and written together."""
        return f"{kind_of(self.events)}.{'+'.join(self.entity)}"

    @property
    def words(self) -> str:
        """The definition as a sentence."""
        what = {"mean": "The mean", "count": "The number", "last": "The last", "age": "The age in hours of the last"}
        default = "missing" if np.isnan(self.default) else f"{self.default:g}"
        return (
            f"{what[self.how]} of {kind_of(self.events)} events with the same {' and '.join(self.entity)} "
            f"in {self.hours} h; {default} where there is none."
        )

    def values(self, events: Columns) -> NDArray[np.float64]:
        """Return each event's value, NaN where it has none."""
        if self.value is None:
            return np.ones(len(events["time"]))
        try:
            found = events[self.value] if isinstance(self.value, str) else self.value(events)
            values = np.asarray(found, dtype=np.float64)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ContractError("features", f"a value of {self.group}: {error!r}", MEND) from error
        if values.shape != (len(events["time"]),):
            broken = f"a value of {self.group} has the shape {values.shape}, and not one number an event"
            raise ContractError("features", broken, MEND)
        return values


def kind_of(events: type[Event]) -> str:
    """Return the name of a kind of events, as topics and partitions bear it."""
    return events.__name__.lower()


@dataclass(frozen=True)
class Feature:
    """One input of the model; `calendar` ones drift by definition and are exempt from input drift.

    `field` is the record's field that it passes on as it stands.
    """

    name: str
    kind: Kind
    sentence: str
    calendar: bool
    compute: Callable[[Columns], Array]
    window: Window | None = None
    field: str | None = None


def row_feature(kind: Kind, *, calendar: bool = False) -> Callable[[Callable[[Columns], Array]], Feature]:
    """Make a Feature of a pure function of the record's columns; its name and docstring become the feature's."""

    def define(function: Callable[[Columns], Array]) -> Feature:
        return Feature(function.__name__, kind, (function.__doc__ or "").strip(), calendar, function)

    return define


def column(name: str, kind: Kind, sentence: str) -> Feature:
    """Make a Feature of a field of the record as it stands."""
    return Feature(name, kind, sentence, False, lambda records: records[name], field=name)


def windowed(
    name: str,
    sentence: str,
    *,
    events: type[Event],
    entity: str | tuple[str, ...],
    value: str | Callable[[Columns], Array] | None = None,
    how: How,
    hours: int,
    default: float | None = None,
    bounds: tuple[float | None, float | None] = (None, None),
) -> Feature:
    """Make a Feature of what happened to an entity; `default` is taken where nothing is known or all is too old.

    It is missing unless something else is given, or 0 for a count.

    The records' columns hold its value under its name: put there by the point-in-time join or by the online store.
    """

    otherwise = default if default is not None else 0.0 if how == "count" else np.nan

    def compute(records: Columns) -> Array:
        found = records[name]
        return found if np.isnan(otherwise) else np.where(np.isnan(found), otherwise, found)

    if how not in get_args(How) or not (isinstance(hours, int) and hours > 0):
        broken = f"{name} folds by {how!r} over {hours!r} hours"
        raise ContractError("features", broken, f"{MEND}: {', '.join(get_args(How))}, and whole hours")
    fields = (entity,) if isinstance(entity, str) else entity
    if not fields:
        raise ContractError("features", f"{name} has no entity", MEND)
    window = Window(events, fields, value, how, hours, otherwise, bounds)
    return Feature(name, "number", sentence, False, compute, window)
