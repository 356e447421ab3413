"""Scores the records of a plan, chunk by chunk, into one Parquet file a part.

A file appears whole or not at all, and its name says which records it holds. What is there is not done again: a run
that was killed goes on where it was.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.ahead import one_ahead
from ml.contract import bundle as bundles
from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.features import calendar
from ml.features.definition import Columns
from ml.features.fold import Whole
from ml.features.history import History
from ml.features.precomputed import name_of
from ml.features.table import Inputs, columns_of_frame, inputs, key_values
from ml.problem import schema
from ml.progress import track
from ml.scoring import scan
from ml.scoring.plan import Part, Plan, folder
from ml.scoring.reading import Chunk, chunks, frame_of
from ml.store import files

NAME, SCORE = "name", "score"  # columns beside the fields that name a record; the name is a hash of these
REPEATING = [*schema.KEY, "bundle", "decision", "as_of"]  # columns whose values come again and again


class Ready(NamedTuple):
    """A chunk whose records were checked, with as-of moments, [n], and what the model reads of them."""

    chunk: Chunk
    columns: Columns
    at: Whole
    given: Inputs


class Scored(NamedTuple):
    """A part whose scores lie there, and whether they did so before."""

    part: Part
    before: bool


def score(plan: Plan, store: str, scores: str, days: Sequence[date] | None = None) -> Iterator[Scored]:
    """Score the records of some days of a plan, or of all, with its bundle, and yield each part as it lies there.

    Raises ContractError where records break the schema or are not those that were planned, where the history of events
    ends too early, and while another process scores the same.
    """
    model, home = bundles.load(store, plan.bundle), folder(scores, plan.run)
    parts = plan.parts(days)
    with _alone(home, parts):
        pending = absent(home, parts)
        left = set(pending)
        yield from (Scored(part, True) for part in parts if part not in left)
        ready = one_ahead(_ready(chunks(plan, pending), plan))
        for chunk in track(ready, "scoring chunks"):
            for part, table in _scored(chunk, model):
                content = pa.BufferOutputStream()  # a file of Python's would wait for the other thread
                pq.write_table(table, content, use_dictionary=REPEATING)
                files.write(files.join(home, part.name), content.getvalue().to_pybytes())
                yield Scored(part, False)


def absent(home: str, parts: Sequence[Part]) -> list[Part]:
    """Return the parts that are not scored yet."""
    days = sorted({part.day for part in parts})
    there = {f"day={day}/{name}" for day in days for name in files.names(files.join(home, f"day={day}"))}
    return [part for part in parts if part.name not in there]


def _alone(home: str, parts: Sequence[Part]) -> AbstractContextManager[None]:
    """Hold the lock of a run, or of its shard; an object store has none, and two there write the same bytes twice."""
    if "://" in home or not parts:
        return nullcontext()
    return files.alone(files.local(files.join(home, "_locks", str(parts[0].day)), "scores"), "scoring run")


def _ready(read: Iterator[Chunk], plan: Plan) -> Iterator[Ready]:
    """Yield chunks with the features of their records, which were checked."""
    history = History(plan.lake)
    for chunk in read:
        columns = columns_of_frame(frame_of(chunk))
        at = _as_of(columns, plan)
        for part, table, own in _parts(chunk):
            scan.refuse_broken(part.name, table)
            _refuse_other_days(part, _rows(columns, own))
        yield Ready(chunk, columns, at, inputs(columns | history.join(columns, at)))


def _scored(ready: Ready, model: Bundle) -> Iterator[tuple[Part, pa.Table]]:
    """Yield the parts of a chunk with the scores of their records: part by part, so that no bit depends on others."""
    for part, table, own in _parts(ready.chunk):
        names = [name_of(key) for key in key_values(_rows(ready.columns, own))]
        scan.refuse_repeated(part.name, names)
        found = model.scorer.score(Inputs(ready.given.numbers[own], ready.given.categories[own]))
        yield (
            part,
            table.select(list(schema.KEY))
            .append_column(NAME, pa.array(names, pa.binary(16)))
            .append_column(SCORE, pa.array(found))
            .append_column("decision", pa.array(found >= model.threshold))
            .append_column("bundle", pa.repeat(model.digest, part.rows))
            .append_column("as_of", pa.array(ready.at[own], pa.timestamp("s", "UTC"))),
        )


def _parts(chunk: Chunk) -> Iterator[tuple[Part, pa.Table, slice]]:
    """Yield the parts of a chunk with their records, and where these are in the chunk."""
    end = 0
    for part, table in chunk:
        end += part.rows
        yield part, table, slice(end - part.rows, end)


def _rows(columns: Columns, own: slice) -> Columns:
    return {name: values[own] for name, values in columns.items()}


def _as_of(columns: Columns, plan: Plan) -> Whole:
    """Return as of when things are known of each record, in seconds: when it is due, or the plan's bound before."""
    due = schema.predicted_at(columns).astype("datetime64[s]").astype(np.int64)
    return np.minimum(due, int(plan.as_of.timestamp())) if plan.as_of else due


def _refuse_other_days(part: Part, columns: Columns) -> None:
    due = calendar.local(schema.predicted_at(columns), framing().time.timezone).astype("datetime64[D]")
    if strange := int((due != np.datetime64(part.day)).sum()):
        broken = f"{part.name} holds {strange:,} records whose prediction is due on another day"
        raise ContractError("data", broken, "Put each record into the partition of its day")
