"""Rows that a model is fitted and judged on: features, outcome, local day and key of each record."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.contract.clock import Clock
from ml.contract.framing import FILE, framing
from ml.errors import ContractError
from ml.features import calendar
from ml.features.definition import Columns
from ml.features.history import History
from ml.features.table import CATEGORIES, DAY, KEY, NAMES, NUMBERS, Inputs, columns_of_frame, inputs
from ml.problem import schema, source
from ml.progress import track


@dataclass(frozen=True)
class Rows:
    """Inputs, outcomes (0 or 1), days (local, ISO 8601) and hashed keys, all of one length."""

    inputs: Inputs
    outcomes: NDArray[np.int64]
    days: NDArray[np.object_]
    keys: NDArray[np.uint64]

    @property
    def frame(self) -> pd.DataFrame:
        """The inputs as rungs are fitted on them: numbers first, then categories."""
        numbers = pd.DataFrame(self.inputs.numbers, columns=NAMES[: len(NUMBERS)])
        return numbers.join(pd.DataFrame(self.inputs.categories, columns=NAMES[len(NUMBERS) :]))

    def where(self, rows: NDArray[np.bool_]) -> "Rows":
        """Return the chosen rows."""
        return Rows(self.inputs.where(rows), self.outcomes[rows], self.days[rows], self.keys[rows])

    def of(self, days: Iterable[Any]) -> "Rows":
        """Return the rows of the given days."""
        return self.where(np.isin(self.days, [str(day) for day in days]))


def rows_of(records: pd.DataFrame) -> Rows:
    """Compute every feature of raw records; raises ContractError where labels come later than the framing says."""
    columns = columns_of_frame(records)
    made, known = schema.predicted_at(columns), schema.known_at(columns)
    allowed = framing().time.label_delay_hours
    if len(made) and (latest := (known - made).max() / np.timedelta64(1, "h")) > allowed:
        broken = f"an outcome is known {latest:.1f} hours after its prediction, time.label_delay_hours says {allowed:g}"
        raise ContractError("framing", broken, f"Edit {FILE}")
    told = records[framing().task.positive].to_numpy(np.float64, na_value=np.nan)
    now = np.datetime64(Clock("wall").now().replace(tzinfo=None), "s")
    if not np.isin(told, (0, 1)).all() or (known > now).any():
        day = days_of(columns)[~np.isin(told, (0, 1)) | (known > now)][0]
        raise ContractError("data", f"an outcome of {day} is not known yet", "Let the window end on an earlier day")
    outcomes, days = told.astype(np.int64), days_of(columns)
    keys = pd.util.hash_pandas_object(records[list(schema.KEY)], index=False).to_numpy()
    return Rows(inputs(columns), outcomes, days, keys.astype(np.uint64))


def days_of(columns: Columns) -> NDArray[np.object_]:
    """Return the local day on which each record's prediction is due, ISO 8601."""
    local = calendar.local(schema.predicted_at(columns), framing().time.timezone)
    return local.astype("datetime64[D]").astype(str).astype(object)


def records_of(lake: str, days: Sequence[date]) -> pd.DataFrame:
    """Return the raw records of some days, and beside them what was known of their entities when each was due.

    Raises ContractError when the lake lacks a day of records or of the events before them.
    """
    if absent := sorted(set(days) - set(source.days(lake))):
        broken = f"{lake} has no partition of {absent[0]} ({len(absent)} days absent)"
        raise ContractError("data", broken, "Edit [data] in project.toml")
    return pd.concat(track(by_week(lake, days), "reading weeks"), ignore_index=True)


def by_week(lake: str, days: Iterable[date]) -> Iterator[pd.DataFrame]:
    """Yield the records of some days, a week at a time: a join has a price of its own, however small it is."""
    history = History(lake)
    for _, week in groupby(sorted(days), key=lambda day: day.toordinal() // 7):
        yield _with_known(history, _read(lake, week))


def _read(lake: str, days: Iterable[date]) -> pd.DataFrame:
    """Return the records of some days as they were written."""
    partitions = []
    for day in days:
        partitions.append(source.read(lake, day))
        if strange := int((days_of(columns_of_frame(partitions[-1])) != str(day)).sum()):
            broken = f"the partition of {day} holds {strange} records whose prediction is due on another day"
            raise ContractError("data", broken, "Edit ml/problem/source.py")
    return pd.concat(partitions, ignore_index=True)


def _with_known(history: History, records: pd.DataFrame) -> pd.DataFrame:
    """Return records with the windowed features as of each prediction."""
    columns = columns_of_frame(records)
    return records.assign(
        **history.join(columns, schema.predicted_at(columns).astype("datetime64[s]").astype(np.int64))
    )


def to_parquet(rows: Rows) -> bytes:
    """Return rows as the training table, sorted by day."""
    table = rows.frame.assign(**{framing().task.positive: rows.outcomes, DAY: rows.days, KEY: rows.keys})
    return bytes(table.sort_values(DAY, kind="stable").to_parquet(index=False))


def from_parquet(path: Path) -> Rows:
    """Read the training table."""
    table = pd.read_parquet(path)
    numbers = table[[feature.name for feature in NUMBERS]].to_numpy(np.float32)
    categories = table[[feature.name for feature in CATEGORIES]].to_numpy(object)
    outcomes = table[framing().task.positive].to_numpy(np.int64)
    return Rows(Inputs(numbers, categories), outcomes, table[DAY].to_numpy(object), table[KEY].to_numpy(np.uint64))
