"""What tuning may change of a rung: a range a parameter, named as scikit-learn's `set_params` names it."""

from collections.abc import Mapping
from typing import NamedTuple


class Whole(NamedTuple):
    """Whole numbers from `low` to `high`; on a logarithmic scale where `log`."""

    low: int
    high: int
    log: bool = False


class Real(NamedTuple):
    """Numbers from `low` to `high`; on a logarithmic scale where `log`."""

    low: float
    high: float
    log: bool = False


Space = Mapping[str, Whole | Real]
