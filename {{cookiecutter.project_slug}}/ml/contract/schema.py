"""Reads the problem's record and event classes: the one place where columns are described serves everything else.

Great Expectations' suite, the request model, OpenAPI, the training dtypes, the monitor's reference and the messages
of the stream are all derived from the fields listed here.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from ml.errors import ContractError
from ml.problem import schema

Kind = Literal["number", "category", "time"]
MEND = "Edit ml/problem/schema.py"


@dataclass(frozen=True)
class Column:
    """One field of the record, in the terms that every derived check needs; bounds are of the field's own type."""

    name: str
    kind: Kind
    integer: bool
    optional: bool
    low: Any
    high: Any
    pattern: str | None


KINDS: dict[type, Kind] = {
    int: "number",
    float: "number",
    str: "category",
    datetime: "time",
    AwareDatetime: "time",
}


def _plain(annotation: Any, name: str) -> tuple[type, bool, list[Any]]:
    """Return an annotation's one plain type, whether None is allowed beside it, and the marks on it."""
    arms = [annotation]
    if get_origin(annotation) in (Union, UnionType):
        arms = list(get_args(annotation))
    plain = [arm for arm in arms if arm is not NoneType]
    marks: list[Any] = []
    if len(plain) == 1 and get_origin(plain[0]) is Annotated:
        inner, *marks = get_args(plain[0])
        plain = [inner]
    if len(plain) != 1 or plain[0] not in KINDS:
        raise ContractError("schema", f"{name} is not one number, text or time", MEND)
    return (
        plain[0],
        NoneType in arms,
        [each for mark in marks for each in (mark.metadata if isinstance(mark, FieldInfo) else [mark])],
    )


def _limits(name: str, plain: type, marks: list[Any]) -> dict[str, Any]:
    """Return the bounds and the pattern among a field's marks."""
    found: dict[str, Any] = {"low": None, "high": None, "pattern": None}
    for mark in marks:
        if isinstance(mark, annotated_types.Ge):
            found["low"] = mark.ge
        elif isinstance(mark, annotated_types.Le):
            found["high"] = mark.le
        elif getattr(mark, "pattern", None):
            found["pattern"] = mark.pattern
        else:
            raise ContractError(
                "schema", f"{name} has {mark!r}, which data checks do not know", f"{MEND}: ge, le, pattern"
            )
    if plain is float and None in (found["low"], found["high"]):
        raise ContractError("schema", f"{name} has no bounds, so NaN and infinity would pass", f"{MEND}: ge and le")
    return found


@cache
def columns(of: type[BaseModel] = schema.Record) -> tuple[Column, ...]:
    """Return the columns of records, or of events, in the order of the class; raises ContractError for other types."""
    found = []
    for name, info in of.model_fields.items():
        plain, optional, marks = _plain(info.annotation, name)
        found.append(
            Column(name, KINDS[plain], plain is int, optional, **_limits(name, plain, [*info.metadata, *marks]))
        )
    return tuple(found)


def record_type() -> type[BaseModel]:
    """Return the problem's record class."""
    return schema.Record
