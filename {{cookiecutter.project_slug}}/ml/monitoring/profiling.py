"""The verb: profile what was predicted, from closed segments of the event log and in a process of its own.

Rows are known by the segment in which they lay at first: whichever segments were put together since, and wherever a
run was interrupted, each counts once. Two runs at the same time, or one beside `ml compact`, are not provided for.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.contract.events import FEATURES, LOGGED, PREDICTIONS
from ml.errors import ContractError
from ml.eventlog import read
from ml.eventlog.segments import HOUR, SEGMENT
from ml.features.table import SCORE
from ml.monitoring import profile_files
from ml.monitoring.profile_files import Part, Place
from ml.monitoring.profile_writer import WHOSE, Writer, hours
from ml.problem.schema import PERSONAL
from ml.store import files

ROWS = 65_536  # in memory at once; whylogs takes a third of the time for them that they would take by the thousand
AGE = timedelta(hours=3)  # of an hour whose parts are merged: few events come later
WANTED = {*WHOSE, "time", SCORE, SEGMENT}
HASHED = {FEATURES + each.name for each in LOGGED if each.field in PERSONAL}  # a profile would list the hashes


class Done(NamedTuple):
    """What a run did: predictions profiled, parts written, hours and days merged, and those dropped for their age."""

    rows: int
    parts: int
    merged: int
    dropped: int


def profile(log: str, url: str, keep_days: int) -> Done:
    """Profile what is new in the event log at `log`, merge hours and days that are over, and drop what is too old.

    As for labels, the newest prediction tells what time it is.
    """
    done, rows, written = profile_files.batches(url), 0, 0
    left, there = profile_files.left(url, done), read.names(log, PREDICTIONS)
    newest = max((hours(rows).max() for name in there[-1:] for rows in _rows(log, name)), default=np.datetime64(0, "s"))
    for hour, group in groupby(there, key=lambda name: name[:HOUR]):
        names = list(group)
        batch = f"{hour}-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:16]}"
        if batch not in done:
            for part in left.get(batch, []):  # it was interrupted, and might have written more than it will now
                files.remove(part.url(url))
            known = {name for each in done if each[:HOUR] == hour for name in profile_files.segments_of(url, each)}
            found = _profile(log, names, known, Writer(url, batch, newest))
            rows, written = rows + found.rows, written + found.parts
    return Done(rows, written, *_keep(url, keep_days))


def _profile(log: str, names: list[str], known: set[str], writer: Writer) -> Writer:
    """Profile the rows of some segments that lay at first in none of the known ones; return the writer."""
    taken: set[str] = set()
    waiting: list[pa.Table] = []
    for origins, rows in _new(log, names, known):
        taken |= origins
        # Small segments are put together first; unless a definition has changed from one to the next.
        if waiting and (sum(map(len, waiting)) + len(rows) > ROWS or waiting[0].schema != rows.schema):
            writer.add(pa.concat_tables(waiting))
            waiting = []
        waiting.append(rows)
    if waiting:
        writer.add(pa.concat_tables(waiting))
    writer.close(taken)
    return writer


def _new(log: str, names: list[str], known: set[str]) -> Iterator[tuple[set[str], pa.Table]]:
    """Yield rows that lay at first in none of the known segments, and in which they did."""
    known = set(known)
    for name in names:
        found: set[str] = set()
        for rows in () if name in known else _rows(log, name):
            origins = set(pc.unique(rows[SEGMENT]).to_pylist()) if SEGMENT in rows.column_names else {name}
            if new := origins - known:
                found |= new
                yield new, rows if new == origins else rows.filter(pc.is_in(rows[SEGMENT], pa.array(sorted(new))))
        known |= found


def _rows(log: str, name: str) -> Iterator[pa.Table]:
    """Yield a segment's rows, the columns that are needed."""
    try:
        for rows in read.batches(log, PREDICTIONS, name, _wanted, ROWS):
            yield pa.table(rows)
    except FileNotFoundError as error:
        raise ContractError("events", f"{log} changes while it is profiled", "Run `ml profile` again") from error


def _wanted(column: str) -> bool:
    return column in WANTED or (column.startswith(FEATURES) and column not in HASHED)


def _keep(url: str, days: int) -> tuple[int, int]:
    """Merge the parts of hours and of days that are over, drop what is too old; return how many places of each."""
    done, found, dropped = profile_files.batches(url), dict(profile_files.parts(url)), 0
    newest, mergeable = max((place.begin for place in found), default=datetime.min), dict[Place, list[Part]]()
    for place, parts in found.items():
        age = newest - place.begin
        if (newest.date() - place.day).days > days:
            files.clear(files.join(url, place.folder))
            dropped += 1
        elif age >= AGE:
            good = profile_files.counting(parts, done)
            for part in set(parts) - set(good):  # left by a run that was interrupted
                files.remove(part.url(url))
            mergeable.setdefault(place.as_of(newest), []).extend(good)
    several = {place: parts for place, parts in mergeable.items() if len(parts) > 1}
    for place, parts in several.items():
        profile_files.merge(url, place, profile_files.counting(parts, done))
    return len(several), dropped
