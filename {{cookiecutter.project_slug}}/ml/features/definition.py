"""What a feature is: a name, a kind, a sentence, and one function that serves training and serving alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

Array = NDArray[Any]
Columns = Mapping[str, Array]  # one array a field, all of one length: a single record has arrays of length one
Kind = Literal["number", "category"]


@dataclass(frozen=True)
class Feature:
    """One input of the model; `calendar` ones drift by definition and are exempt from input drift."""

    name: str
    kind: Kind
    sentence: str
    calendar: bool
    compute: Callable[[Columns], Array]


def row_feature(kind: Kind, *, calendar: bool = False) -> Callable[[Callable[[Columns], Array]], Feature]:
    """Make a Feature of a pure function of the record's columns; its name and docstring become the feature's."""

    def define(function: Callable[[Columns], Array]) -> Feature:
        return Feature(function.__name__, kind, (function.__doc__ or "").strip(), calendar, function)

    return define


def column(name: str, kind: Kind, sentence: str) -> Feature:
    """Make a Feature of a field of the record as it stands."""
    return Feature(name, kind, sentence, False, lambda records: records[name])
