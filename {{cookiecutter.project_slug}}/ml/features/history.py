"""The offline feature store: the windowed features of records as of when each was due.

Memory is bounded by the records asked for at once and the events that their windows reach back to, however long the
history is.
"""

import numpy as np

from ml.errors import ContractError
from ml.features.archive import Archive
from ml.features.asof import Asof
from ml.features.definition import Columns, kind_of
from ml.features.fold import Floats, Whole
from ml.features.table import GROUPS, WINDOWED


class History:
    """What was known of entities, by the events of one lake."""

    def __init__(self, lake: str) -> None:
        self._lake, self._archive, self._asof = lake, Archive(lake), Asof()

    @property
    def end(self) -> int:
        """The moment before which every kind of events is known, in seconds."""
        return min((self._archive.end(group.events) for group in GROUPS), default=2**62)

    def join(self, records: Columns, at: Whole) -> dict[str, Floats]:
        """Return every windowed feature of records as of the moments `at` (seconds), each [n], NaN for unknown.

        Raises ContractError where the history ends before the last moment, or has a hole.
        """
        if not len(at) or not GROUPS:
            return {feature.name: np.empty(0) for feature in WINDOWED}
        first, last = int(at.min()), int(at.max())
        for group in GROUPS:
            if (end := self._archive.end(group.events)) <= last:
                kind, day = kind_of(group.events), np.datetime64(end or last, "s").astype("datetime64[D]")
                raise ContractError("data", f"{self._lake} has no {kind} events of {day}", "See ml/problem/source.py")
        self._archive.forget(first - max(group.horizon for group in GROUPS))
        events = {group: self._archive.between(group.events, first - group.horizon, last) for group in GROUPS}
        return self._asof.join(records, at, events)
