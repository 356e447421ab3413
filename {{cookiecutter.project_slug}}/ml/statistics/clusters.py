"""Ratio metrics whose unit of chance is an entity: means over rows, with errors that know that rows of one go together.

Entities are assigned to arms, rows are not: a metric is a ratio of two sums over entities, and its error follows by the
delta method (Deng, Knoblich and Lu 2018). What no arm can have changed, as what the same entities did before, explains
a part of what they differ by (CUPED: Deng, Xu, Kohavi and Walker, WSDM '13); it is used in the same linearised form, so
that an entity without a past is simply one that says nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROUNDING = 1e-9  # a difference that is so small a part of either mean is none


class TooFewError(ValueError):
    """There are fewer than two entities, and so no error."""


class Sums(NamedTuple):
    """Each entity's sum and number of rows, [entities]: of a metric in one arm, or of something to adjust it by."""

    sums: Floats
    rows: Floats

    @property
    def mean(self) -> float:
        """The metric, over rows."""
        return float(self.sums.sum() / self.rows.sum())


@dataclass(frozen=True)
class Effect:
    """What was estimated: its value and standard error, from how many entities (of the smaller arm).

    `reduction` is the share of the variance that covariates took away, 0 without any.
    """

    value: float
    error: float
    entities: int
    reduction: float = 0.0


def sums(values: NDArray[Any], entities: NDArray[Any], of: NDArray[Any] | None = None) -> Sums:
    """Return the sums of rows, [n], by entity, in order; with `of`, of the entities named there, rows or none."""
    named = np.unique(entities) if of is None else np.unique(of)
    if not len(named):
        return Sums(np.zeros(0), np.zeros(0))
    place = np.minimum(np.searchsorted(named, entities), len(named) - 1)
    ours = named[place] == entities
    summed, rows = (np.bincount(place[ours], each, minlength=len(named)) for each in (values[ours], None))
    return Sums(summed.astype(np.float64), rows.astype(np.float64))


def mean(of: Sums, *, share: bool = False) -> Effect:
    """Return the metric of one arm; see `difference` for `share`. Raises TooFewError."""
    error = float(np.sqrt((_influence(of) ** 2).sum() + share * _once_more(of)))
    return Effect(of.mean, error, len(of.rows))


def difference(
    arm: Sums, champion: Sums, covariates: Sequence[tuple[Sums, Sums]] = (), *, share: bool = False
) -> Effect:
    """Return the metric of an arm minus that of the champion; raises TooFewError for either.

    `covariates` have, for the same entities of both arms, what no arm can have changed: the part of the difference that
    they explain is chance, and is taken away. `share` is for what happens or does not: that it was never seen does not
    make it impossible, so the error counts one more entity in each arm, to which it always happened. With n entities
    the bounds then reach about 3 / n beyond zero, as the rule of three has it.
    """
    apart, value = _apart(arm, champion), arm.mean - champion.mean
    variance = left = float((apart**2).sum())
    usable = [sides for sides in covariates if all(side.rows.sum() for side in sides)]
    if usable:
        columns = np.column_stack([_apart(*sides) for sides in usable])
        slopes = np.linalg.lstsq(columns, apart, rcond=1e-9)[0]
        value -= float(slopes @ [one.mean - other.mean for one, other in usable])
        left = float(((apart - columns @ slopes) ** 2).sum())
    if abs(value) < ROUNDING * (abs(arm.mean) + abs(champion.mean)):  # all of it was explained
        value = 0.0
    more = share * (_once_more(arm) + _once_more(champion))
    reduction = 1 - left / variance if variance else 0.0
    return Effect(value, float(np.sqrt(left + more)), min(len(arm.rows), len(champion.rows)), reduction)


def _apart(arm: Sums, champion: Sums) -> Floats:
    """Return what each entity of both adds to the error of the difference."""
    return np.concatenate([_influence(arm), -_influence(champion)])


def _influence(of: Sums) -> Floats:
    """Return what each entity adds to the ratio's error: the squares sum to the cluster-robust variance."""
    count = len(of.rows)
    if count < 2:
        raise TooFewError("an error needs two entities")
    return np.asarray(np.sqrt(count / (count - 1)) * (of.sums - of.mean * of.rows) / of.rows.sum())


def _once_more(of: Sums) -> float:
    """Return the variance that one more entity would add, of usual size and to which it always happened."""
    return float(((1 - of.mean) / len(of.rows)) ** 2)
