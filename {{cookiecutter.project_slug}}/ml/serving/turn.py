"""What one turn of the event loop brought: the records of some requests as columns, and what was said of each."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.features.definition import Columns
from ml.features.online import Known
from ml.features.table import Inputs
from ml.problem.schema import KEY
from ml.serving.answered import Answered
from ml.serving.batching import Request
from ml.serving.plan import Plan

SAID = ("entities", "arms", "said_by", "scores", "stored", "fallback")
BY_CHAMPION, BY_CONSTANT = "champion", "constant"  # who answered for a model that failed; "" where none did


@dataclass(frozen=True)
class Turn:
    """Rows, one a record: `arms` are places in `plan.arms`, by assignment; `said_by` places in `plan.bundles`."""

    plan: Plan
    requests: Sequence[Request]
    now: datetime
    degraded: bool
    columns: Columns
    known: Known
    given: Inputs
    entities: NDArray[np.object_]
    arms: NDArray[np.int64]
    said_by: NDArray[np.int64]
    scores: NDArray[np.float64]
    stored: NDArray[np.bool_]  # that a batch run had made the score before
    fallback: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def records(self) -> list[Any]:
        """The records, request after request."""
        return [record for request in self.requests for record in request.records]

    @cached_property
    def _request(self) -> NDArray[np.int64]:
        """To which request each row belongs."""
        return np.repeat(np.arange(len(self.requests)), [len(request.records) for request in self.requests])

    def answered(self, request_ids: Sequence[str]) -> Answered:
        """Return the rows as they are answered now, each under its id."""
        came = np.array([request.came for request in self.requests])[self._request]
        moment = np.datetime64(round(self.now.timestamp() * 1e6), "us")
        return Answered(
            self.plan,
            np.array(request_ids, dtype=object),
            np.full(len(self), moment),
            time.perf_counter() - came,
            {name: self.columns[name] for name in KEY},
            self.known,
            self.given,
            self.entities,
            self.arms,
            self.said_by,
            self.scores,
            self.scores >= self.plan.thresholds[self.said_by],
            self.stored,
            np.full(len(self), self.degraded),
            self.fallback,
        )

    def split(self, waiting: NDArray[np.bool_]) -> tuple["Turn", "Turn"]:
        """Return the requests of which no row waits, and the others."""
        waits = np.bincount(self._request, waiting, len(self.requests)) > 0
        return self._of(~waits), self._of(waits)

    def _of(self, chosen: NDArray[np.bool_]) -> "Turn":
        rows = chosen[self._request]
        return replace(
            self,
            requests=[request for request, one in zip(self.requests, chosen.tolist(), strict=True) if one],
            columns={name: values[rows] for name, values in self.columns.items()},
            known=self.known.where(rows),
            given=self.given.where(rows),
            **{name: getattr(self, name)[rows] for name in SAID},
        )
