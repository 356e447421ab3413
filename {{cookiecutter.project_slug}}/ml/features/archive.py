"""The events of a lake, read day by day as they became available; those last asked for stay in memory."""

from datetime import date, timedelta

import numpy as np
import pandas as pd

from ml.contract import schema
from ml.errors import ContractError
from ml.features.definition import Columns, Event, kind_of
from ml.features.table import columns_of_frame
from ml.problem import source

EPOCH, DAY = date(1970, 1, 1), 86_400


class Archive:
    """The events of one lake."""

    def __init__(self, lake: str) -> None:
        self._lake = lake
        self._there: dict[str, list[date]] = {}
        self._read: dict[tuple[str, date], Columns] = {}

    def end(self, kind: type[Event]) -> int:
        """Return the moment before which the history of a kind is whole, in seconds; 0 where there is none."""
        days = self._days(kind_of(kind))
        return ((days[-1] - EPOCH).days + 1) * DAY if days else 0

    def between(self, kind: type[Event], since: int, until: int) -> Columns:
        """Return the events that became available after `since` and up to `until`, in seconds, in that order.

        A column a field, and `available`: when, in seconds. Raises ContractError where the history has a hole, or an
        event is not what its class says.
        """
        first, last = (EPOCH + timedelta(days=moment // DAY) for moment in (since, until))
        parts = [_nothing(kind), *(self._day(kind, day) for day in self._wanted(kind_of(kind), first, last))]
        events = {name: np.concatenate([part[name] for part in parts[1:] or parts]) for name in parts[0]}
        chosen = np.flatnonzero((events["available"] > since) & (events["available"] <= until))
        order = chosen[np.argsort(events["available"][chosen], kind="stable")]
        return {name: values[order] for name, values in events.items()}

    def forget(self, before: int) -> None:
        """Let go of the days before a moment, in seconds."""
        first = EPOCH + timedelta(days=before // DAY)
        self._read = {name: events for name, events in self._read.items() if name[1] >= first}

    def _days(self, kind: str) -> list[date]:
        if kind not in self._there:
            self._there[kind] = source.event_days(self._lake, kind)
        return self._there[kind]

    def _wanted(self, kind: str, first: date, last: date) -> list[date]:
        """Return the days from `first` to `last` that lie within the history; before and after it nothing is known."""
        there = self._days(kind)
        if not there:
            return []
        begin, end = max(first, there[0]), min(last, there[-1])
        wanted = [begin + timedelta(days=ahead) for ahead in range((end - begin).days + 1)]
        if absent := sorted(set(wanted) - set(there)):
            broken = f"{self._lake} has no {kind} events of {absent[0]}, but of days before and after"
            raise ContractError("data", broken, "Fill the hole, with no event where nothing happened")
        return wanted

    def _day(self, kind: type[Event], day: date) -> Columns:
        name = kind_of(kind)
        if (name, day) not in self._read:
            frame = source.read_events(self._lake, name, day)
            self._read[name, day] = _checked(frame, kind, day) if len(frame) else _nothing(kind)
        return self._read[name, day]


def _nothing(kind: type[Event]) -> Columns:
    kinds = {"number": np.float64, "category": object, "time": "datetime64[s]"}
    return {column.name: np.empty(0, kinds[column.kind]) for column in schema.columns(kind)} | {
        "available": np.empty(0, np.int64)
    }


def _checked(frame: pd.DataFrame, kind: type[Event], day: date) -> Columns:
    """Return a day's events as columns; raises ContractError for what the stream would have refused.

    Else training would count what serving never sees.
    """
    known = frame["available_at"].dt.tz_convert("UTC").dt.tz_localize(None)
    rules = {
        "become available on another day": (known.dt.date != day),
        "become available before they happen": frame["available_at"] < frame["time"],
    }
    for column in schema.columns(kind):
        values = frame[column.name]
        if not column.optional:
            rules[f"have no {column.name}"] = values.isna()
        if column.kind == "number":
            low, high = (each if each is not None else values for each in (column.low, column.high))
            rules[f"have a {column.name} out of bounds"] = (values < low) | (values > high)
        if column.pattern is not None:
            strange = ~values.dropna().str.contains(column.pattern)
            rules[f"have a strange {column.name}"] = strange.reindex(values.index, fill_value=False)
    for rule, broken in rules.items():
        if broken.any():
            said = f"{broken.sum():,} {kind_of(kind)} events of {day} {rule}"
            raise ContractError("data", said, "Edit ml/problem/source.py, or the class in ml/problem/schema.py")
    seconds = known.dt.ceil("s").to_numpy("datetime64[s]").astype(np.int64)
    return {**columns_of_frame(frame, kind), "available": seconds}
