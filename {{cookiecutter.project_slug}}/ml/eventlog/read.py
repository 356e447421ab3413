"""Reads the event log: closed segments wherever they are, and on this node what is not closed yet."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ml.contract.events import TABLES
from ml.errors import ContractError
from ml.eventlog import segments, spool
from ml.eventlog.segments import HOUR
from ml.settings import settings
from ml.store import files

ATTEMPTS = 5  # at a listing that changes while it is read


def logged(table: str) -> pd.DataFrame:
    """Return a table of this environment's event log, with what lies in this node's spool."""
    return read(settings().events_url, table, settings().spool)


def by_hour(table: str) -> Iterator[pa.Table]:
    """Yield the rows of `logged` by the hours in which segments were begun: all of a long log are too many for memory.

    An hour's rows may lack a column, or have it of another kind; `frame` makes one of several.
    """
    url, here = settings().events_url, settings().spool
    for hour in sorted({name[:HOUR] for name in (*names(url, table), *spool.names(here, table))}):
        yield _together(url, table, here, hour)


def read(url: str, table: str, here: Path | None = None) -> pd.DataFrame:
    """Return a table's rows, in the order in which their segments were begun; none where there is no segment.

    `here` is this node's spool: what lies only there is read as well. Raises ContractError for what is no segment.
    """
    return frame(table, [_together(url, table, here)])


def frame(table: str, parts: Sequence[pa.Table]) -> pd.DataFrame:
    """Return some rows of a table as one frame that has at least the columns that the table has now."""
    rows: pd.DataFrame = segments.together([segments.empty(table), *parts]).to_pandas()
    return rows[[*TABLES[table], *(name for name in rows if name not in (*TABLES[table], segments.SEGMENT))]]


def _together(url: str, table: str, here: Path | None, hour: str = "") -> pa.Table:
    growing = {}
    if here is not None:
        waiting = [name for name in spool.names(here, table) if name.startswith(hour)]
        growing = {name: spool.read(here, table, name) for name in waiting}
    there, replaced = _whole(url, table, hour)  # after the spool: what was sent meanwhile is there
    found = {name: rows for name, rows in growing.items() if rows is not None and name not in replaced} | there
    return segments.together([segments.empty(table), *(found[name] for name in sorted(found))])


def closed(url: str, table: str, hour: str = "") -> dict[str, pa.Table]:
    """Return a table's closed segments by name, all or an hour's, without those whose place another takes."""
    return _whole(url, table, hour)[0]


def _whole(url: str, table: str, hour: str) -> tuple[dict[str, pa.Table], set[str]]:
    """Return the segments that count, by name, and the names of those whose place they take."""
    for _ in range(ATTEMPTS):
        chosen = [name for name in names(url, table) if name.startswith(hour)]
        try:
            read = {name: segment(url, table, name) for name in chosen}
        except FileNotFoundError:
            continue  # it was put together with others meanwhile
        replaced = set().union(*(replaces for _, replaces in read.values()))
        return {name: rows for name, (rows, _) in read.items() if name not in replaced}, replaced
    raise ContractError("events", f"{url} changes faster than it can be read", "Try again")


def names(url: str, table: str) -> list[str]:
    """Return the names of a table's closed segments."""
    listed = files.names(files.join(url, table))
    return [name.removesuffix(segments.CLOSED) for name in listed if name.endswith(segments.CLOSED)]


def segment(url: str, table: str, name: str) -> tuple[pa.Table, set[str]]:
    """Return the rows of a closed segment, and the names of those whose place it takes; raises FileNotFoundError."""
    with _understood(file := _file(url, table, name)):
        return segments.read_closed(files.read(file))


def batches(url: str, table: str, name: str, wanted: Callable[[str], bool], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the wanted columns of a closed segment, so many rows at a time.

    A segment that was made of others has a column segments.SEGMENT. Raises FileNotFoundError where there is none.
    """
    with _understood(file := _file(url, table, name)):
        yield from segments.read_some(files.read(file), wanted, rows)


def _file(url: str, table: str, name: str) -> str:
    return files.join(url, table, name + segments.CLOSED)


@contextmanager
def _understood(file: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        raise ContractError("events", f"{file} is no segment: {error}", "Move it away") from error
