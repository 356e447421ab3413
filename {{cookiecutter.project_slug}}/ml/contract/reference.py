"""What the model saw in training, as deterministic bins: edges and counts by day, small enough to travel with it.

Counts are kept by day because days differ: what a window may differ by is learned from how days differ.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.features.definition import Kind
from ml.features.table import MISSING

Counts = NDArray[np.int64]

CELLS = 10  # quantile cells of a number
NAMED = 20  # categories that get a cell of their own, at most
SHARE = 0.01  # of the rows that such a category holds, at least: rarer ones drown in chance and in sketch error


@dataclass(frozen=True)
class Bins:
    """Cells of one variable: between `edges` of a number, or of the `named` categories; then "other", then "missing".

    A number's cell i holds edges[i-1] < value <= edges[i]. Other is a category without a cell of its own, or a number
    outside of `limits`, the smallest and the largest of training.
    """

    kind: Kind
    edges: list[float]
    limits: list[float]
    named: list[str]

    @classmethod
    def of(cls, values: NDArray[Any]) -> "Bins":
        """Learn bins from the training values: deciles of a number, the most frequent categories of a text."""
        if values.dtype != object:
            present = values[~np.isnan(values)].astype(np.float64)
            if not len(present):
                return cls("number", [], [], [])
            cuts = np.unique(np.quantile(present, np.arange(1, CELLS) / CELLS))
            limits = [float(present.min()), float(present.max())]
            return cls("number", cuts[cuts < limits[1]].tolist(), limits, [])
        found, times = np.unique(values[values != MISSING].astype(str), return_counts=True)
        often = np.lexsort((found, -times))[:NAMED]
        return cls("category", [], [], found[often[times[often] >= SHARE * len(values)]].tolist())

    @property
    def size(self) -> int:
        """Number of cells, those of other and of missing values included."""
        return len(self.edges) + (self.kind == "number") + len(self.named) + 2

    def count(self, values: NDArray[Any]) -> Counts:
        """Return how many of the values fall in each cell, [size]."""
        if self.kind == "number":
            low, high = self.limits or (-np.inf, np.inf)
            cell = np.where((values < low) | (values > high), self.size - 2, np.searchsorted(self.edges, values))
            cell = np.where(np.isnan(values), self.size - 1, cell)
        else:
            place = {name: index for index, name in enumerate([*self.named])} | {MISSING: self.size - 1}
            cell = np.array([place.get(value, self.size - 2) for value in values], dtype=np.int64)
        return np.bincount(cell.astype(np.int64), minlength=self.size)


@dataclass(frozen=True)
class Variable:
    """One feature's, or the score's, bins, all its categories, and its counts, a row a day, [days, size]."""

    name: str
    calendar: bool
    bins: Bins
    known: list[str]
    counts: list[list[int]]


@dataclass(frozen=True)
class Reference:
    """The training months, day by day: counts of every variable, and sums of outcomes, scores and losses.

    `realised` are sums of the primary metric's losses, `estimated` of what the scores themselves let expect; `slope`
    over `information` is by how much logits are too flat (see `statistics.unlabelled`). `unseen` are the days whose
    scores come from a fit that had not seen them: what a model does on new days.
    """

    days: list[str]
    rows: list[int]
    observed: list[float]
    predicted: list[float]
    realised: list[float]
    estimated: list[float]
    slope: list[float]
    information: list[float]
    unseen: list[bool]
    variables: list[Variable]

    def dump(self) -> bytes:
        """Return the reference as JSON, the same bytes for the same content."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def load(cls, content: bytes) -> "Reference":
        """Read what `dump` wrote."""
        found = json.loads(content)
        variables = [Variable(**{**each, "bins": Bins(**each["bins"])}) for each in found.pop("variables")]
        return cls(variables=variables, **found)

    def known(self, name: str) -> frozenset[str]:
        """Return the categories that a feature had in training."""
        return frozenset(next(variable.known for variable in self.variables if variable.name == name))


def by_day(days: Sequence[str] | NDArray[Any], values: NDArray[Any], bins: Bins) -> list[list[int]]:
    """Return counts a day, in the order of sorted days, [days, size]."""
    named = np.asarray(days)
    return [bins.count(values[named == day]).tolist() for day in np.unique(named)]
