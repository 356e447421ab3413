"""Keeps the event log in order: many small segments become one, and what is to be forgotten is taken out of all."""

import hashlib
from functools import reduce
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.contract import clock, events, schema
from ml.contract.events import FEATURES, KEY, OUTCOMES, PREDICTIONS, SHADOWS, TABLES
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.eventlog import read, segments
from ml.eventlog.segments import HOUR
from ml.store import files


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
            parts = read.closed(url, table, hour)
            rows = segments.together([segments.named(rows, name) for name, rows in parts.items()])
            whole = f"{hour}0000.000000-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:8]}"
            files.write(_file(url, table, whole), segments.closed(rows, names))
            for name in names:
                files.remove(_file(url, table, name))
            done += len(names)
    return done


def requests_of(url: str, field: str, value: str) -> set[str]:
    """Return the ids of all predictions of records whose field has this value, as it stands or hashed.

    Raises ContractError for a field that the log does not hold, and for a value that the field cannot have.
    """
    columns = [name for name in (KEY + field, FEATURES + field) if name in TABLES[PREDICTIONS]]
    names_entity = field in framing().experiment.entity
    if not columns and not names_entity:
        keys = {name.removeprefix(KEY) for name in TABLES[PREDICTIONS] if name.startswith(KEY)}
        named = ", ".join(sorted({*keys, *framing().experiment.entity}))
        raise ContractError("events", f"the log holds no field {field!r}", f"Name {named} or a feature")
    typed, found = _typed(field, value), set[str]()
    for rows in read.closed(url, PREDICTIONS).values():
        hits = [_is(rows[name], typed) for name in columns if name in rows.column_names]
        hits += [pc.equal(rows["entity"], events.entity(field, typed))] if names_entity else []
        found |= set(rows["request_id"].filter(pc.fill_null(reduce(pc.or_kleene, hits), False)).to_pylist())
    return found


def take_out(url: str, requests: set[str]) -> None:
    """Take requests out of all tables, predictions last: who is interrupted can begin again."""
    for table in (OUTCOMES, SHADOWS, PREDICTIONS):
        for name in read.names(url, table):
            rows, replaces = read.segment(url, table, name)
            hits = pc.is_in(rows["request_id"], pa.array(sorted(requests), pa.string()))
            if pc.any(hits).as_py():
                files.write(_file(url, table, name), segments.closed(rows.filter(pc.invert(hits)), sorted(replaces)))


def _typed(field: str, value: str) -> Any:
    """Return a value as the service sees it: a number as float, a time as numpy's, UTC."""
    kind = next((each.kind for each in schema.columns() if each.name == field), "category")
    try:
        if kind == "number":
            return float(value)
        return np.datetime64(clock.parse(value).replace(tzinfo=None), "s") if kind == "time" else value
    except ValueError as error:
        raise ContractError("events", f"{value!r} is no value of {field}", "Write it as a request would") from error


def _is(column: pa.ChunkedArray, value: Any) -> pa.ChunkedArray:
    if pa.types.is_string(column.type):
        return pc.is_in(column, pa.array([str(value), events.hashed(value)]))
    return pc.equal(column, pa.scalar(value).cast(column.type, safe=False))


def _file(url: str, table: str, name: str) -> str:
    return files.join(url, table, name + segments.CLOSED)
