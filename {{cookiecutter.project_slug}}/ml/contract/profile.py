"""The only place that knows whylogs: mergeable profiles of what the model saw, and their counts in given bins.

whylogs' sketches are fast; what it does to a data frame before is not: each number goes through Python twice, to see
whether it is infinite. So columns come here as arrays, are split by numpy, and only then given to whylogs' metrics.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.contract.clock import Clock
from ml.contract.reference import Bins, Counts

os.environ["WHYLOGS_NO_ANALYTICS"] = "1"  # read at import
for _old, _new in {"unicode_": np.str_, "string_": np.bytes_, "float_": np.float64}.items():
    if _old not in np.__dict__:  # names that NumPy 2 took away and whylogs 1.6 still asks for
        setattr(np, _old, _new)
from whylogs.core import ColumnSchema, DatasetProfileView  # noqa: E402
from whylogs.core.metrics import Metric  # noqa: E402
from whylogs.core.preprocessing import PreprocessedColumn  # noqa: E402
from whylogs.core.resolvers import StandardResolver  # noqa: E402
from whylogs.core.view.column_profile_view import ColumnProfileView  # noqa: E402

METRICS = StandardResolver()  # what the default chooses for each type, a hundred times as fast
REPLACES = "replaces"  # metadata of a profile that was merged of others: their names

# A column: numbers (NaN for missing), or the texts that are there beside the number of rows.
Column = NDArray[np.floating[Any]] | tuple[Sequence[str], int]


class Profile:
    """A whylogs profile of a frame's columns; profiles of parts merge to the profile of the whole."""

    def __init__(self, view: DatasetProfileView) -> None:
        self._view = view

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "Profile":
        """Profile a frame of numbers (NaN for missing) and texts ("" for missing)."""
        profiler = Profiler()
        profiler.add({str(name): _column(frame[name]) for name in frame})
        return profiler.profile()

    @classmethod
    def load(cls, content: bytes) -> "Profile":
        """Read what `dump` wrote."""
        return cls(DatasetProfileView.deserialize(content))

    def dump(self, replaces: Sequence[str] = ()) -> bytes:
        """Return the profile in whylogs' own format, as taking the place of those named; its sketches are random."""
        self._view.metadata[REPLACES] = "\n".join(replaces)
        return bytes(self._view.serialize())

    @property
    def replaces(self) -> set[str]:
        """The names of the profiles whose place this one takes."""
        return set(filter(None, self._view.metadata.get(REPLACES, "").split("\n")))

    def merge(self, other: "Profile") -> "Profile":
        """Return the profile of both parts together."""
        return Profile(self._view.merge(other._view))

    def counts(self, name: str, bins: Bins) -> Counts:
        """Return how many values of a column fall in each cell of `bins`, to the sketch's error (about 1 % of rank)."""
        column = self._view.get_column(name)
        if column is None:
            return np.zeros(bins.size, dtype=np.int64)
        counter = column.get_metric("counts")
        missing = int(counter.null.value)  # NaN among them
        present = int(counter.n.value) - missing
        cells = _categories(column, bins, present) if bins.kind == "category" else _numbers(column, bins, present)
        return np.array([*cells, missing], dtype=np.int64)

    def summary(self, name: str) -> dict[str, float]:
        """Return a column's count, share missing, mean (NaN for texts) and estimated number of distinct values."""
        column = self._view.get_column(name)
        if column is None:
            return {"count": 0, "missing": 1.0, "mean": float("nan"), "distinct": 0}
        counter, moments = column.get_metric("counts"), column.get_metric("distribution")
        rows = int(counter.n.value)
        return {
            "count": rows,
            "missing": int(counter.null.value) / max(rows, 1),
            "mean": float(moments.mean.value) if moments.n else float("nan"),
            "distinct": float(column.get_metric("cardinality").hll.value.get_estimate()),
        }


class Profiler:
    """A profile that grows by batches of rows."""

    def __init__(self) -> None:
        self._metrics: dict[str, dict[str, Metric]] = {}

    def add(self, columns: Mapping[str, Column]) -> None:
        """Take in a batch: the more rows at once the better, from a thousand on."""
        for name, values in columns.items():
            kind, prepared = _prepared(values)
            if name not in self._metrics:
                self._metrics[name] = ColumnSchema(dtype=kind, resolver=METRICS).get_metrics(name)
            for metric in self._metrics[name].values():
                metric.columnar_update(prepared)

    def profile(self) -> Profile:
        """Return the profile of what was taken in; what follows would change it."""
        columns = {name: ColumnProfileView(metrics=metrics) for name, metrics in self._metrics.items()}
        now = Clock("wall").now()
        return Profile(DatasetProfileView(columns=columns, dataset_timestamp=now, creation_timestamp=now))


def _column(values: "pd.Series[Any]") -> Column:
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values.to_numpy(np.float64, na_value=np.nan)
    return values[values.notna() & (values != "")].astype(str).tolist(), len(values)


def _prepared(values: Column) -> tuple[type, PreprocessedColumn]:
    """Return a column's type and its split as whylogs would make it of a series: what is there, what is missing."""
    prepared = PreprocessedColumn()
    if isinstance(values, tuple):
        prepared.list.strings, prepared.len = list(values[0]), values[1]
        prepared.null_count = prepared.len - len(values[0])
        return str, prepared
    there = values[~np.isnan(values)].astype(np.float64)
    prepared.numpy.floats, prepared.len = there, len(values)
    prepared.null_count = prepared.nan_count = len(values) - len(there)
    prepared.inf_count = int(np.isinf(there).sum())
    return float, prepared


def _numbers(column: ColumnProfileView, bins: Bins, present: int) -> list[int]:
    sketch = column.get_metric("distribution").kll.value
    if sketch.is_empty():
        return [0] * (len(bins.edges) + 2)
    low, high = bins.limits or (-np.inf, np.inf)
    # The sketch counts strictly below a cut, cells end at their edge.
    cuts = [low, *np.nextafter([*bins.edges, high], np.inf)]
    under, *below = np.round(np.array(sketch.get_cdf(np.array(cuts).tolist())[: len(cuts)]) * present).astype(int)
    inside = np.diff(below, prepend=under).tolist()
    return [*inside, present - sum(inside)]


def _categories(column: ColumnProfileView, bins: Bins, present: int) -> list[int]:
    items = {str(item.value): int(item.est) for item in column.get_metric("frequent_items").strings}
    named = [items.get(name, 0) for name in bins.named]
    return [*named, max(0, present - sum(named))]
