"""Refuses definitions that contradict each other or the schema, by name, before anything is computed."""

from collections.abc import Iterator, Sequence

from ml.contract import schema
from ml.errors import ContractError
from ml.features.definition import MEND, Feature
from ml.features.group import Group
from ml.problem.schema import EVENTS, Record


def refuse_contradictions(features: Sequence[Feature], groups: Sequence[Group], ours: set[str]) -> None:
    """Raise ContractError for names that are taken, `ours` among them, and for windows over what is not there."""
    for broken in (*_names(features, ours), *(said for group in groups for said in _windows(group))):
        raise ContractError("features", broken, MEND)


def _names(features: Sequence[Feature], ours: set[str]) -> Iterator[str]:
    names = [feature.name for feature in features]
    yield from (f"two features are called {name}" for name in names if names.count(name) > 1)
    yield from (f"{name} is a column of ours" for name in names if name in ours)
    for feature in features:
        if feature.window and feature.name in Record.model_fields:
            yield f"{feature.name} is a field of the record and a windowed feature"


def _windows(group: Group) -> Iterator[str]:
    if group.events not in EVENTS:
        yield f"{group.name} folds events that are not among EVENTS"
        return
    texts, numbers = (
        {column.name for column in schema.columns(group.events) if column.kind == kind}
        for kind in ("category", "number")
    )
    for window in group.windows:
        if isinstance(window.value, str) and window.value not in numbers:
            there = ", ".join(sorted(numbers)) or "it has none"
            yield f"{group.name}: {window.value} is no number of the event ({there})"
    asked = {column.name for column in schema.columns(Record) if column.kind == "category"}
    for name in group.entity:
        if name not in texts & asked:
            yield f"{group.name}: {name} is no text of both the record and the event, so it names no entity"
