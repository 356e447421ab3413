"""What any model of the problem must do, said on pairs of records that differ in one thing (Ribeiro et al. 2020)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ml.features.definition import Columns

Expects = Literal["same", "higher"]
Pair = Callable[[Columns], tuple[Columns, Columns]]


@dataclass(frozen=True)
class Behaviour:
    """Two versions of each record: their scores are the same, or on average higher for the second."""

    name: str
    expects: Expects
    sentence: str
    versions: Pair


def behaviour(expects: Expects) -> Callable[[Pair], Behaviour]:
    """Make a Behaviour of a function that returns both versions; its name and docstring become the behaviour's."""

    def define(function: Pair) -> Behaviour:
        return Behaviour(function.__name__, expects, (function.__doc__ or "").strip(), function)

    return define
