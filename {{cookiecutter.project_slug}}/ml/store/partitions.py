"""One Parquet file a day, in a directory or an object store: how a lake keeps records and events."""

import io
import re
from collections.abc import Sequence
from datetime import date

import pandas as pd
import pyarrow.parquet as pq

from ml.errors import ContractError
from ml.store import files

NAME = re.compile(r"day=(\d{4}-\d{2}-\d{2})\.parquet")


def days(url: str) -> list[date]:
    """Return the days that have a partition, in order."""
    named = [NAME.fullmatch(name) for name in files.names(url)]
    return [date.fromisoformat(found[1]) for found in named if found]


def read(url: str, day: date, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Return one day's rows as they were written, or some of their columns; raises ContractError for what is none."""
    try:
        return pd.read_parquet(io.BytesIO(files.read(place(url, day))), columns=list(columns) or None)
    except ValueError as error:
        raise ContractError("data", f"{place(url, day)} is no Parquet file: {error}", "Write it again") from error


def columns(url: str, day: date) -> list[str]:
    """Return the names of one day's columns."""
    return list(pq.read_schema(io.BytesIO(files.read(place(url, day)))).names)


def write(url: str, day: date, rows: pd.DataFrame) -> None:
    """Put one day's rows, whole or not at all."""
    content = io.BytesIO()
    rows.to_parquet(content, index=False)
    files.write(place(url, day), content.getvalue())


def place(url: str, day: date) -> str:
    """Return the URL of one day's file."""
    return files.join(url, f"day={day}.parquet")
