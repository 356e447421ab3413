"""How the event log lies on disk, and the only place that writes it: open segments as Arrow streams, closed as Parquet.

An open segment grows by whole record batches on this node's disk; a torn one at its end was being written when its
writer died, and is passed over. A closed segment is one compressed Parquet file.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml.contract.events import TABLES

OPEN, CLOSED = ".arrow", ".parquet"
HOUR = len("20260101T00")  # of a segment's name: when it was begun
REPLACES = b"replaces"  # metadata of a segment that was made of others: their names
SEGMENT = "segment"  # column of such a segment: in which of them each row lay at first
TYPES = {
    "text": pa.string(),
    "number": pa.float64(),
    "single": pa.float32(),
    "flag": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
}

DTYPES = {
    kind: np.dtype(name) for kind, name in (("number", "f8"), ("single", "f4"), ("flag", "?"), ("time", "M8[us]"))
}

# Columns whose texts come again and again; a request's id never does.
REPEATING = sorted(
    {name for kinds in TABLES.values() for name, kind in kinds.items() if kind == "text"} - {"request_id"} | {SEGMENT}
)

Part = Mapping[str, Any]  # some rows of a table: an array or list a column, one value where all rows have the same


def batch(table: str, parts: Sequence[tuple[Part, int]]) -> pa.RecordBatch:
    """Return parts of a table, each with its number of rows, as one record batch."""
    kinds, counts = TABLES[table], [count for _, count in parts]
    columns = [_column(kind, [part[name] for part, _ in parts], counts) for name, kind in kinds.items()]
    return pa.record_batch(columns, names=list(kinds))


def _column(kind: str, values: Sequence[Any], rows: Sequence[int]) -> pa.Array:
    """Return one column. `pa.array` would do, and would import pandas, which serving does without."""
    if kind == "text":
        return _texts(list(chain.from_iterable(map(_spread, values, rows))))
    parts = (
        each if isinstance(each, np.ndarray) else np.array([_plain(one) for one in _spread(each, count)], DTYPES[kind])
        for each, count in zip(values, rows, strict=True)
    )
    whole = np.concatenate([part.astype(DTYPES[kind], copy=False) for part in parts])
    content = np.packbits(whole, bitorder="little") if kind == "flag" else whole
    return pa.Array.from_buffers(TYPES[kind], len(whole), [None, pa.py_buffer(content.view(np.uint8))])


def _texts(values: Sequence[str | None]) -> pa.Array:
    """Return texts, None for none. Joined at once they cost a fourth of what a builder takes that gets one by one."""
    there = None
    if None in values:
        there = pa.py_buffer(np.packbits([each is not None for each in values], bitorder="little"))
    texts = cast(Sequence[str], values if there is None else [each or "" for each in values])
    whole = "".join(texts)
    sizes = map(len, texts) if whole.isascii() else (len(each.encode()) for each in texts)
    ends = np.zeros(len(texts) + 1, dtype=np.int32)
    np.cumsum(np.fromiter(sizes, dtype=np.int32, count=len(texts)), out=ends[1:])
    return pa.Array.from_buffers(TYPES["text"], len(texts), [there, pa.py_buffer(ends), pa.py_buffer(whole.encode())])


def _spread(value: Any, count: int) -> list[Any]:
    if isinstance(value, np.ndarray):
        return list(value.tolist())
    return value if isinstance(value, list) else [value] * count


def _plain(value: Any) -> Any:
    """Return a moment as numpy takes it, UTC without saying so; anything else as it is."""
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def empty(table: str) -> pa.Table:
    """Return no rows of a table."""
    return pa.schema([(name, TYPES[kind]) for name, kind in TABLES[table].items()]).empty_table()


def stream(rows: pa.RecordBatch, begin: bool) -> bytes:
    """Return a record batch as the next piece of an open segment; the first piece begins with the schema."""
    head = rows.schema.serialize().to_pybytes() if begin else b""
    return bytes(head + rows.serialize().to_pybytes())


def read_open(file: BinaryIO) -> pa.Table | None:
    """Return the whole batches of an open segment; None where not even its schema is whole.

    What a damaged disk gives back is not believed: to read it could end the process.
    """
    found: list[pa.RecordBatch] = []
    try:
        reader = pa.ipc.open_stream(io.BytesIO(file.read()))
    except (pa.ArrowInvalid, OSError):
        return None
    while True:
        try:
            rows = reader.read_next_batch()
            rows.validate(full=True)
            found.append(rows)
        except (StopIteration, pa.ArrowInvalid, OSError):
            return pa.Table.from_batches(found, reader.schema)


def closed(rows: pa.Table, replaces: Sequence[str] = ()) -> bytes:
    """Return rows as a closed segment that takes the place of those named."""
    content = io.BytesIO()
    told = rows.replace_schema_metadata({REPLACES: "\n".join(replaces)} if replaces else None)
    pq.write_table(told, content, compression="zstd", use_dictionary=REPEATING, write_statistics=False)
    return content.getvalue()


def read_closed(content: bytes) -> tuple[pa.Table, set[str]]:
    """Return the rows of a closed segment, and the names of those whose place it takes."""
    whole = pq.ParquetFile(pa.BufferReader(content))
    rows = whole.read(use_threads=False)  # a thread that still holds something of ours aborts a process that ends
    replaces = (rows.schema.metadata or {}).get(REPLACES, b"").decode().split("\n")
    return rows.replace_schema_metadata(None), set(filter(None, replaces))


def read_some(content: bytes, wanted: Callable[[str], bool], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the wanted columns of a closed segment, so many rows at a time."""
    whole = pq.ParquetFile(pa.BufferReader(content))
    names = [name for name in whole.schema_arrow.names if wanted(name)]
    yield from whole.iter_batches(rows, columns=names, use_threads=False)


def named(rows: pa.Table, name: str) -> pa.Table:
    """Return the rows of a segment with the name of the one in which they lay at first, which is this one or is told.

    Whoever has read the one will know its rows again among those of others, also where some were erased.
    """
    if SEGMENT in rows.column_names:
        return rows
    return rows.append_column(SEGMENT, pa.repeat(name, len(rows)))


def together(parts: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of several segments; a column that one lacks is null there.

    A column that was once a number and once a text, for its definition changed, is a text.
    """
    texts = {field.name for part in parts for field in part.schema if field.type == TYPES["text"]}
    return pa.concat_tables([_as_texts(part, texts) for part in parts], promote_options="permissive")


def _as_texts(part: pa.Table, texts: set[str]) -> pa.Table:
    for place, field in enumerate(part.schema):
        if field.name in texts and field.type != TYPES["text"]:
            known = pc.if_else(pc.equal(part[place], part[place]), part[place], None)  # NaN is no text
            part = part.set_column(place, field.name, known.cast(TYPES["text"]))
    return part
