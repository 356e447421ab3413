"""Counts where requests break the record's contract, by field and kind, whatever a caller sends."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ml.contract.schema import columns
from ml.serving.counters import BREACHES, BROKEN

FIELDS = frozenset(column.name for column in columns())
OTHER = "other"  # a field that no record has, or no record at all: callers must not make up label values
KINDS = {  # by pydantic's type of error
    "missing": "missing",
    "extra_forbidden": "unknown",
    "json_invalid": "unreadable",
    "greater_than_equal": "range",
    "less_than_equal": "range",
    "string_pattern_mismatch": "range",
}


def count(errors: Sequence[Any], listed: bool) -> None:
    """Count the errors of one refused body, as pydantic lists them, and the records that have any."""
    found = Counter[tuple[str, str]]()
    rows = set()
    for error in errors:
        place = list(error["loc"])
        rows.add(place.pop(0) if listed and place else 0)
        found[_field(place), _kind(error, place)] += 1
    for (field, kind), times in found.items():
        BREACHES.labels(field, kind).inc(times)
    BROKEN.inc(len(rows))


def _field(place: Sequence[str | int]) -> str:
    return str(place[0]) if place and place[0] in FIELDS else OTHER


def _kind(error: Any, place: Sequence[str | int]) -> str:
    """Return the kind of an error; a null where a value is required is one that is missing."""
    null = place and error["input"] is None
    return KINDS.get(error["type"], "missing" if null else "type")
