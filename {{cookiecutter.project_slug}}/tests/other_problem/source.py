"""Where records and labels come from: scikit-learn's breast-cancer data, as if a clinic examined eight women a day.

The data has neither days nor gaps: a fixed shuffle gives each record its day, and every ninth record lacks what
a blurred image would hide.
"""

import io
from collections.abc import Iterator
from datetime import date

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer

from ml.problem.schema import Record
from ml.store import files as store

A_DAY = 8  # examinations
FIRST = pd.Timestamp("2024-01-08 08:00", tz="America/Chicago")
COLUMNS = [*Record.model_fields, "benign"]


def publish(lake: str) -> Iterator[date]:
    """Write the partitions that are not there yet, and yield each day."""
    there = set(days(lake))
    examinations = _examinations()
    for day, partition in examinations.groupby(examinations.examined_at.dt.tz_convert(FIRST.tz).dt.date):
        if day not in there:
            content = io.BytesIO()
            partition[COLUMNS].to_parquet(content, index=False)
            store.write(_partition(lake, day), content.getvalue())
        yield day


def days(lake: str) -> list[date]:
    """Return the days that have a partition, in order."""
    return [date.fromisoformat(name.removesuffix(".parquet")) for name in store.names(lake)]


def read(lake: str, day: date) -> pd.DataFrame:
    """Return one day's records with their label, as they were written."""
    return pd.read_parquet(io.BytesIO(store.read(_partition(lake, day))))


def event_days(lake: str, kind: str) -> list[date]:
    """Nothing happens meanwhile."""
    raise NotImplementedError


def read_events(lake: str, kind: str, day: date) -> pd.DataFrame:
    """Nothing happens meanwhile."""
    raise NotImplementedError


def _partition(lake: str, day: date) -> str:
    return store.join(lake, f"{day}.parquet")


def _examinations() -> pd.DataFrame:
    """Return all examinations in the order of time, with the label: 1 is benign."""
    data = load_breast_cancer(as_frame=True).frame.rename(columns=lambda name: name.replace(" ", "_"))
    data = data.sample(frac=1, random_state=0, ignore_index=True).rename(columns={"target": "benign"})
    place = np.arange(len(data))
    data["examination"] = place + 1
    wall = FIRST.tz_localize(None) + pd.to_timedelta(place // A_DAY, "D") + pd.to_timedelta(place % A_DAY, "h")
    data["examined_at"] = wall.tz_localize(FIRST.tz).tz_convert("UTC").astype("datetime64[us, UTC]")
    data.loc[place % 9 == 0, ["mean_concavity", "worst_concavity"]] = np.nan
    return data
