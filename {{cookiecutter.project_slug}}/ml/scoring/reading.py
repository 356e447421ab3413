"""Streams partitions of records: however large they are, memory holds one chunk."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ml.contract import schema
from ml.errors import ContractError
from ml.store import files, partitions

if TYPE_CHECKING:
    from ml.scoring.plan import Part, Plan

BUFFER = 2**20  # bytes of a column that are read ahead
DAYS = 7  # in a chunk at most: their events have to be in memory with them

PLAIN = {"number": pa.float64(), "category": pa.large_string(), "time": pa.timestamp("us", "UTC")}

Chunk = list[tuple["Part", pa.Table]]


def footer(url: str) -> tuple[int, pa.Schema]:
    """Return a partition's number of rows and its columns; raises ContractError for what is no Parquet file."""
    with files.opened(url) as file:
        try:
            found = pq.ParquetFile(file)
        except pa.ArrowInvalid as error:
            raise ContractError("data", f"{url} is no Parquet file: {error}", "Write it again") from error
        return found.metadata.num_rows, found.schema_arrow


def chunks(plan: "Plan", parts: Iterable["Part"]) -> Iterator[Chunk]:
    """Yield parts with their records, so many at once as `chunk_rows` allows and lie within a week."""
    chunk: Chunk = []
    for part, table in _tables(plan, parts):
        held = sum(each.rows for each, _ in chunk)
        if chunk and (held + part.rows > plan.chunk_rows or (part.day - chunk[0][0].day).days >= DAYS):
            yield chunk
            chunk = []
        chunk.append((part, table))
    if chunk:
        yield chunk


def frame_of(chunk: Chunk) -> pd.DataFrame:
    """Return a chunk's records, of one type a column whatever those of their files are."""
    columns = schema.columns()
    plain = [
        pa.table({each.name: table.column(each.name).cast(PLAIN[each.kind], safe=False) for each in columns})
        for _, table in chunk
    ]
    return cast(pd.DataFrame, pa.concat_tables(plain).to_pandas())


def _tables(plan: "Plan", parts: Iterable["Part"]) -> Iterator[tuple["Part", pa.Table]]:
    """Yield parts with their records; raises ContractError for a partition that is no longer what was planned."""
    for day, own in groupby(parts, key=lambda part: part.day):
        wanted, url = {part.number: part for part in own}, partitions.place(plan.records, day)
        if files.state(url) != plan.days[day].state:
            raise ContractError("data", f"{url} has changed since the run was planned", "Run `ml score` again")
        for number, table in enumerate(_cut(url, plan.chunk_rows)):
            if number in wanted:
                yield wanted[number], table
            if number == max(wanted):
                break


def _cut(url: str, rows: int) -> Iterator[pa.Table]:
    """Yield the records of one file, so many at a time; the last are what is left."""
    names = [column.name for column in schema.columns()]
    with files.opened(url) as file, pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False) as found:
        held: list[pa.RecordBatch] = []
        for batch in found.iter_batches(batch_size=rows, columns=names):
            held.append(batch)
            while sum(each.num_rows for each in held) >= rows:  # a batch may end where a row group does
                table = pa.Table.from_batches(held)
                yield table.slice(0, rows)
                held = table.slice(rows).to_batches()
        if held:
            yield pa.Table.from_batches(held)
