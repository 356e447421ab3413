"""The events of a lake, read day by day as they became available; those last asked for stay in memory."""

from datetime import date, timedelta

import numpy as np

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
        """Return the moment up to which the history of a kind goes, in seconds; 0 where there is none."""
        days = self._days(kind_of(kind))
        return ((days[-1] - EPOCH).days + 1) * DAY if days else 0

    def between(self, kind: type[Event], since: int, until: int) -> Columns:
        """Return the events that became available after `since` and up to `until`, in seconds, in that order.

        A column a field, and `available`: when, in seconds. Raises ContractError where the history has a hole.
        """
        name = kind_of(kind)
        first, last = (EPOCH + timedelta(days=moment // DAY) for moment in (since, until))
        there = self._days(name)
        wanted = [day for day in there if first <= day <= last]
        if wanted and len(wanted) <= (wanted[-1] - max(first, there[0])).days:
            broken = f"{self._lake} has {len(wanted)} of the days of {name} events from {first} to {wanted[-1]}"
            raise ContractError("data", broken, "Fill the hole, see ml/problem/source.py")
        parts = [self._day(kind, day) for day in wanted] or [_nothing(kind)]
        events = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
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

    def _day(self, kind: type[Event], day: date) -> Columns:
        name = kind_of(kind)
        if (name, day) not in self._read:
            frame = source.read_events(self._lake, name, day)
            known = frame["available_at"].dt.tz_convert("UTC").dt.tz_localize(None).dt.ceil("s")
            seconds = known.to_numpy("datetime64[s]").astype(np.int64)
            self._read[name, day] = {**columns_of_frame(frame, kind), "available": seconds}
        return self._read[name, day]


def _nothing(kind: type[Event]) -> Columns:
    return {name: np.empty(0, np.int64) for name in [*kind.model_fields, "available"]}
