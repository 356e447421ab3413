"""Scores the records of a plan, chunk by chunk, into one Parquet file a part.

A file appears whole or not at all, and its name says which records it holds. What is there is not done again: a run
that was killed goes on where it was.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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


class Scored(NamedTuple):
    """What a run did: records and files that it wrote, and files that were there."""

    rows: int
    parts: int
    there: int


def score(plan: Plan, store: str, scores: str, days: Sequence[date] | None = None) -> Scored:
    """Score the records of some days of a plan, or of all, with its bundle.

    Raises ContractError where records break the schema or are not those that were planned, where the history of events
    ends too early, and while another process scores the same.
    """
    model, home = bundles.load(store, plan.bundle), folder(scores, plan.run)
    parts = plan.parts(days)
    with _alone(home, parts):
        pending = absent(home, parts)
        history = History(plan.lake)
        for chunk in track(chunks(plan, pending), "scoring chunks"):
            for part, table in _scored(chunk, plan, model, history):
                content = io.BytesIO()
                pq.write_table(table, content)
                files.write(files.join(home, part.name), content.getvalue())
    return Scored(sum(part.rows for part in pending), len(pending), len(parts) - len(pending))


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


def _scored(chunk: Chunk, plan: Plan, model: Bundle, history: History) -> Iterator[tuple[Part, pa.Table]]:
    """Yield the parts of a chunk with the scores of their records.

    Features are computed for the whole chunk and scored part by part, so that no bit depends on its neighbours.
    """
    columns = columns_of_frame(frame_of(chunk))
    names = [name_of(key) for key in key_values(columns)]
    begins = np.cumsum([0, *(part.rows for part, _ in chunk)]).tolist()
    for (part, table), begin in zip(chunk, begins, strict=False):
        scan.refuse_broken(part.name, table, names[begin : begin + part.rows])
        _refuse_other_days(part, {name: values[begin : begin + part.rows] for name, values in columns.items()})
    at = _as_of(columns, plan)
    given = inputs(columns | history.join(columns, at))
    for (part, table), begin in zip(chunk, begins, strict=False):
        own = slice(begin, begin + part.rows)
        found = model.scorer.score(Inputs(given.numbers[own], given.categories[own]))
        yield (
            part,
            table.select(list(schema.KEY))
            .append_column(NAME, pa.array(names[own], pa.binary(16)))
            .append_column(SCORE, pa.array(found))
            .append_column("decision", pa.array(found >= model.threshold))
            .append_column("bundle", pa.repeat(model.digest, part.rows))
            .append_column("as_of", pa.array(at[own], pa.timestamp("s", "UTC"))),
        )


def _as_of(columns: Columns, plan: Plan) -> Whole:
    """Return as of when things are known of each record, in seconds: when it is due, or the plan's bound before."""
    due = schema.predicted_at(columns).astype("datetime64[s]").astype(np.int64)
    return np.minimum(due, int(plan.as_of.timestamp())) if plan.as_of else due


def _refuse_other_days(part: Part, columns: Columns) -> None:
    due = calendar.local(schema.predicted_at(columns), framing().time.timezone).astype("datetime64[D]")
    if strange := int((due != np.datetime64(part.day)).sum()):
        broken = f"{part.name} holds {strange:,} records whose prediction is due on another day"
        raise ContractError("data", broken, "Put each record into the partition of its day")
