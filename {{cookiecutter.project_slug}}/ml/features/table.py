"""From records to the model's input: the same few lines for one request, for a bulk, and for the training table."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from ml.contract import schema
from ml.features.contradictions import refuse_contradictions
from ml.features.definition import Array, Columns, Feature
from ml.features.group import groups_of
from ml.problem.features import FEATURES
from ml.problem.schema import KEY as IDENTITY
from ml.problem.schema import Record

if TYPE_CHECKING:  # serving has no data frames
    import pandas as pd

NUMBERS = tuple(feature for feature in FEATURES if feature.kind == "number")
CATEGORIES = tuple(feature for feature in FEATURES if feature.kind == "category")
NAMES = tuple(feature.name for feature in (*NUMBERS, *CATEGORIES))
GROUPS = groups_of(FEATURES)
WINDOWED = tuple(feature for group in GROUPS for feature in group.features)

DAY, KEY, SCORE = "day", "key", "score"  # columns of ours beside the features
refuse_contradictions(FEATURES, GROUPS, {DAY, KEY, SCORE})

MISSING = ""  # how a category says that it has no value; a number says NaN


class Inputs(NamedTuple):
    """What the model reads: `numbers` float32 [n, NUMBERS], `categories` str objects [n, CATEGORIES]."""

    numbers: NDArray[np.float32]
    categories: NDArray[np.object_]

    def where(self, rows: NDArray[Any]) -> "Inputs":
        """Return the chosen rows."""
        return Inputs(self.numbers[rows], self.categories[rows])

    def of(self, names: Sequence[str]) -> "Inputs":
        """Return the named features alone, numbers and categories each in the order of `names`."""
        numbers = [feature.name for feature in NUMBERS]
        categories = [feature.name for feature in CATEGORIES]
        return Inputs(
            self.numbers[:, [numbers.index(name) for name in names if name in numbers]],
            self.categories[:, [categories.index(name) for name in names if name in categories]],
        )


def _array(values: Sequence[Any], kind: str) -> Array:
    if kind == "number":
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if kind == "time":
        return np.array([value.timestamp() for value in values], dtype=np.float64).astype("datetime64[s]")
    return np.array(values, dtype=object)


def columns_of(records: Sequence[BaseModel], kind: type[BaseModel] = Record) -> dict[str, Array]:
    """Return records, or events of a kind, as one array a field.

    Numbers are float64 (NaN for None), texts objects (None for None), times UTC datetime64[s].
    """
    fields = schema.columns(kind)
    rows = [record.__dict__ for record in records]  # as attributes, one by one, they cost a request twice as much
    return {column.name: _array([row[column.name] for row in rows], column.kind) for column in fields}


def columns_of_frame(frame: "pd.DataFrame", kind: type[BaseModel] = Record) -> dict[str, Array]:
    """Return a frame of records, or of events, as `columns_of` does; and windowed features that were joined to it."""
    found: dict[str, Array] = {}
    for column in schema.columns(kind):
        values = frame[column.name]
        if column.kind == "number":
            found[column.name] = values.to_numpy(np.float64, na_value=np.nan)
        elif column.kind == "time":
            found[column.name] = values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[s]")
        else:
            found[column.name] = values.astype(object).where(values.notna(), None).to_numpy(object)
    return found | {each.name: frame[each.name].to_numpy(np.float64) for each in WINDOWED if each.name in frame}


def json_of_frame(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return a frame's records as a client would send them: plain values, None for missing, ISO 8601 times."""
    arrays = []
    for column in schema.columns():
        values = frame[column.name]
        if column.kind == "time":
            plain = [value.isoformat() for value in values]
        else:
            cast = int if column.integer else float if column.kind == "number" else str
            plain = [None if absent else cast(value) for value, absent in zip(values, values.isna(), strict=True)]
        arrays.append(plain)
    names = [column.name for column in schema.columns()]
    return [dict(zip(names, row, strict=True)) for row in zip(*arrays, strict=True)]


def _stack(features: Sequence[Feature], records: Columns, rows: int, dtype: Any) -> NDArray[Any]:
    """Return one column a feature, [rows, features]."""
    table = np.empty((rows, len(features)), dtype=dtype)
    for place, feature in enumerate(features):
        table[:, place] = feature.compute(records)
    return table


def inputs(records: Columns) -> Inputs:
    """Compute every feature of the records."""
    rows = len(next(iter(records.values())))
    categories = _stack(CATEGORIES, records, rows, object)
    categories[categories == None] = MISSING  # noqa: E711 - elementwise
    return Inputs(_stack(NUMBERS, records, rows, np.float32), categories)


def key_values(records: Columns) -> Iterator[tuple[float | str | None, ...]]:
    """Yield what names each record, in the order of the fields; times as ISO 8601, UTC."""
    fields = [records[name] for name in IDENTITY]
    plain = [np.datetime_as_string(each) if each.dtype.kind == "M" else each for each in fields]
    return zip(*(each.tolist() for each in plain), strict=True)


def keys_of(records: Columns) -> list[dict[str, float | str | None]]:
    """Return what names each record, by field."""
    return [dict(zip(IDENTITY, row, strict=True)) for row in key_values(records)]
