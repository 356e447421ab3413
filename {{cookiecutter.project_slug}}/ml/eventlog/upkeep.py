"""Keeps the event log in order: many small segments become one, and what is to be forgotten is taken out of all."""

import hashlib
from collections.abc import Callable
from functools import reduce
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from ml.contract import events
from ml.contract.events import FEATURES, KEY, OUTCOMES, PREDICTIONS, SHADOWS, TABLES
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.eventlog import read, segments
from ml.store import files

HOUR = len("20260101T00")  # of a segment's name: when it was begun


def compact(url: str) -> int:
    """Put the segments of each hour that is over together, and return how many were.

    The new segment names those whose place it takes before they are removed, so that no reader misses or sees twice.
    """
    done = 0
    for table in TABLES:
        there = read.names(url, table)
        for hour, group in groupby(there, key=lambda name: name[:HOUR]):
            names = list(group)
            if hour == there[-1][:HOUR] or len(names) == 1:
                continue
            parts = read.closed(url, table, names)
            rows = segments.together(list(parts.values()))
            whole = f"{hour}0000.000000-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:8]}"
            files.write(_file(url, table, whole), segments.closed(rows, names))
            for name in names:
                files.remove(_file(url, table, name))
            done += len(names)
    return done


def erase(url: str, field: str, value: str) -> set[str]:
    """Take out all predictions of records whose field has this value, and return their request ids.

    Their shadows and outcomes go with them. Segments that are open still have to be closed first. Raises ContractError
    for a field that the log does not hold.
    """
    columns = [name for name in (KEY + field, FEATURES + field) if name in TABLES[PREDICTIONS]]
    names_entity = field in framing().experiment.entity
    if not columns and not names_entity:
        raise ContractError("events", f"the log holds no field {field!r}", "Name a field of KEY, or a feature's")
    gone: set[str] = set()

    def of_entity(rows: pa.Table) -> pa.ChunkedArray:
        hits = [_is(rows, name, value) for name in columns]
        hits += [pc.equal(rows["entity"], events.entity(field, value))] if names_entity else []
        found = pc.fill_null(reduce(pc.or_kleene, hits), False)
        gone.update(rows["request_id"].filter(found).to_pylist())
        return found

    def of_requests(rows: pa.Table) -> pa.ChunkedArray:
        return pc.is_in(rows["request_id"], pa.array(sorted(gone), pa.string()))

    for table, which in ((PREDICTIONS, of_entity), (SHADOWS, of_requests), (OUTCOMES, of_requests)):
        _take_out(url, table, which)
    return gone


def _is(rows: pa.Table, column: str, value: str) -> pa.ChunkedArray:
    """Return in which rows a column has a value, as it stands or hashed."""
    if column not in rows.column_names:
        return pa.chunked_array([pa.repeat(False, len(rows))])
    if TABLES[PREDICTIONS][column] == "text":
        return pc.is_in(rows[column], pa.array([value, events.hashed(value)]))
    return pc.equal(rows[column], float(value))


def _take_out(url: str, table: str, which: Callable[[pa.Table], pa.ChunkedArray]) -> None:
    """Rewrite the segments of a table without the rows that `which` says."""
    for name, rows in read.closed(url, table).items():
        hits = which(rows)
        if pc.any(hits).as_py():
            files.write(_file(url, table, name), segments.closed(rows.filter(pc.invert(hits))))


def _file(url: str, table: str, name: str) -> str:
    return files.join(url, table, name + segments.CLOSED)
