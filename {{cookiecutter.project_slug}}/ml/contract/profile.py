"""The only place that knows whylogs: mergeable profiles of what the model saw, and their counts in given bins."""

import os

import numpy as np
import pandas as pd

from ml.contract.reference import Bins, Counts

os.environ["WHYLOGS_NO_ANALYTICS"] = "1"  # read at import
for _old, _new in {"unicode_": np.str_, "string_": np.bytes_, "float_": np.float64}.items():
    if _old not in np.__dict__:  # names that NumPy 2 took away and whylogs 1.6 still asks for
        setattr(np, _old, _new)
import whylogs  # noqa: E402
from whylogs.core import DatasetProfileView  # noqa: E402
from whylogs.core.view.column_profile_view import ColumnProfileView  # noqa: E402


class Profile:
    """A whylogs profile of a frame's columns; profiles of parts merge to the profile of the whole."""

    def __init__(self, view: DatasetProfileView) -> None:
        self._view = view

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "Profile":
        """Profile a frame of numbers (NaN for missing) and texts ("" for missing)."""
        return cls(whylogs.log(pandas=frame.replace("", None)).view())

    @classmethod
    def load(cls, content: bytes) -> "Profile":
        """Read what `dump` wrote."""
        return cls(DatasetProfileView.deserialize(content))

    def dump(self) -> bytes:
        """Return the profile in whylogs' own format; not the same bytes twice, its sketches are random."""
        return bytes(self._view.serialize())

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
