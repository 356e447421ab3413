"""The faults of a drill: each changes what reaches the service, from its onset on, and nothing before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

from ml.contract import events as log
from ml.contract.framing import framing
from ml.contract.schema import Column, columns
from ml.errors import ContractError
from ml.features.definition import Columns, Event
from ml.features.table import GROUPS, columns_of_frame
from ml.problem.features import FEATURES
from ml.problem.schema import KEY

Alert = Literal["ContractBroken", "FeatureMissing", "ServingSkew", "InputDrift", "ModelPerformance"]
DROPPED = 0.8  # of the records that are not of the usual kind
TURNED = 0.25  # of the negative outcomes
UNIT = 0.5  # of what it should be
MEND = "Drill the others: `ml drill --help`"


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and the alert that should say so.

    `records` changes a day's records with their outcomes, `events` the columns of one kind of events, and `sent` a
    record as JSON; None where they stay as they are.
    """

    says: str
    alert: Alert
    records: Callable[[pd.DataFrame, Generator], pd.DataFrame] | None = None
    events: Callable[[type[Event], Columns], Columns] | None = None
    sent: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None


def other_mix(usual: pd.DataFrame) -> Fault:
    """Return the fault that the mix of records changes, and nothing else: most that are not usual stay away.

    By the first feature of [slices], else the first of all: usual is its most frequent value among some records, or
    the lower half of its numbers.
    """
    named = [*framing().slices.features, FEATURES[0].name][0]
    feature = next(each for each in FEATURES if each.name == named)
    values = pd.Series(feature.compute(columns_of_frame(usual)))
    limit = values.median() if feature.kind == "number" else values.mode()[0]
    rare = f"{feature.name} {'above' if feature.kind == 'number' else 'other than'} {limit}"

    def records(day: pd.DataFrame, draw: Generator) -> pd.DataFrame:
        found = pd.Series(feature.compute(columns_of_frame(day)), index=day.index)
        unusual = found > limit if feature.kind == "number" else found != limit
        return day[~unusual | (draw.random(len(day)) >= DROPPED)]

    return Fault(f"{DROPPED:.0%} of the records with {rare} stay away", "InputDrift", records=records)


def other_relation(usual: pd.DataFrame) -> Fault:
    """Return the fault that other outcomes follow from the same inputs."""
    target = framing().task.positive

    def records(day: pd.DataFrame, draw: Generator) -> pd.DataFrame:
        turned = (day[target] == 0) & (draw.random(len(day)) < TURNED)
        return day.assign(**{target: day[target].where(~turned, 1)})

    return Fault(f"{TURNED:.0%} of what would have ended negative ends positive", "ModelPerformance", records=records)


def broken_feed(usual: pd.DataFrame) -> Fault:
    """Return the fault that no event arrives any more; where there are no events, that a number is always null."""
    if GROUPS:
        return Fault(
            "events stop arriving", "FeatureMissing", events=lambda _, told: {each: told[each][:0] for each in told}
        )
    absent = [each.name for each in _plain() if each.optional]
    if not absent:
        raise ContractError("drill", "the problem has neither events nor a number that may be absent", MEND)
    return Fault(f"{absent[0]} is null", "FeatureMissing", records=lambda day, _: day.assign(**{absent[0]: np.nan}))


def changed_schema(usual: pd.DataFrame) -> Fault:
    """Return the fault that the sender calls a required field otherwise."""
    name = next(each.name for each in columns() if not each.optional)

    def sent(record: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{key}_new" if key == name else key: value for key, value in record.items()}

    return Fault(f"the sender calls the field {name} {name}_new", "ContractBroken", sent=sent)


def other_unit(usual: pd.DataFrame) -> Fault:
    """Return the fault that numbers come in another unit, within their bounds: those of events, or else one field's.

    Nothing fails, and the bundle's golden records score as ever.
    """

    def events(kind: type[Event], told: Columns) -> Columns:
        return {
            **told,
            **{each.name: _halved(each, told[each.name]) for each in columns(kind) if each.kind == "number"},
        }

    if GROUPS:
        return Fault("numbers of events come in another unit: half of what they are", "ServingSkew", events=events)
    if not _plain():
        raise ContractError("drill", "the problem has neither events nor a number that is passed on as it is", MEND)
    field = _plain()[0]

    def records(day: pd.DataFrame, _: Generator) -> pd.DataFrame:
        return day.assign(**{field.name: _halved(field, day[field.name].to_numpy(np.float64, na_value=np.nan))})

    return Fault(f"{field.name} comes in another unit: half of what it is", "ServingSkew", records=records)


def _plain() -> list[Column]:
    """Return the numbers of the record that the model gets as they stand, and that the log holds, but for its key."""
    fields = {each.field for each in log.LOGGED} - set(KEY)
    return [each for each in columns() if each.kind == "number" and each.name in fields]


def _halved(column: Column, values: NDArray[Any]) -> NDArray[Any]:
    """Return a column's numbers in another unit, within its bounds, and whole where they have to be."""
    halved = values * UNIT
    return np.clip(np.floor(halved) if column.integer else halved, column.low, column.high)


FAULTS: dict[str, Callable[[pd.DataFrame], Fault]] = {
    "covariate-drift": other_mix,
    "concept-drift": other_relation,
    "broken-feed": broken_feed,
    "schema-change": changed_schema,
    "silent-bug": other_unit,
}
