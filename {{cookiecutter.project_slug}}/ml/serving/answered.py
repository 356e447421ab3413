"""What was answered, row by row: kept as it is while requests wait, and put together, many turns at once, later on."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.features.definition import Columns
from ml.features.online import Known
from ml.features.table import Inputs
from ml.serving.plan import Plan


class Answered(NamedTuple):
    """Rows, one a record: `arms` are places in `plan.arms`, by assignment; `said_by` places in `plan.bundles`."""

    plan: Plan
    request_ids: NDArray[np.object_]
    times: NDArray[np.datetime64]  # as of which windowed features were read, UTC
    seconds: NDArray[np.float64]  # from the request's body to its answer
    key: Columns
    known: Known
    given: Inputs
    entities: NDArray[np.object_]
    arms: NDArray[np.int64]
    said_by: NDArray[np.int64]
    scores: NDArray[np.float64]
    decisions: NDArray[np.bool_]
    stored: NDArray[np.bool_]
    degraded: NDArray[np.bool_]
    fallback: NDArray[np.object_]

    @property
    def rows(self) -> int:
        """How many records there are."""
        return len(self.scores)


def together(turns: Iterable[Answered]) -> list[Answered]:
    """Return what turns answered as one for each plan, in their order: arrays are dear by their number, not length."""
    return [_joined(list(own)) for _, own in groupby(turns, key=lambda turn: turn.plan)]


def _joined(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, tuple):
        return type(first)(*map(_joined, zip(*parts, strict=True)))
    return first  # the plan, which is the same
