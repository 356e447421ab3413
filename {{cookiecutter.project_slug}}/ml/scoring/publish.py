"""Makes a scored run count: a manifest that says it is whole, its scores in the online store, and the switch to it.

Scores are put file by file, each followed by a mark: who was killed goes on behind the last.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import NamedTuple

import pyarrow.parquet as pq

from ml.contract.clock import Clock
from ml.errors import ContractError
from ml.features import precomputed
from ml.features.precomputed import Pointer, prefix
from ml.online.store import OnlineStore, Unavailable, connect
from ml.scoring.plan import Part, Plan, folder
from ml.scoring.score import NAME, SCORE, absent
from ml.scoring.switch import enter, sweep, switch
from ml.store import files

MANIFEST = "_manifest.json"
ROWS = 50_000  # of a file that are in memory at once


class Published(NamedTuple):
    """What was done: how many scores this process has put into the store, and until when the run counts."""

    rows: int
    expires: datetime


def seal(plan: Plan, scores: str) -> None:
    """Write the manifest; raises ContractError where a part is not there."""
    home, parts = folder(scores, plan.run), plan.parts()
    if missing := absent(home, parts):
        broken = f"{len(missing)} of {len(parts)} files of the run {plan.run} are not there"
        raise ContractError("scores", broken, "Run `ml score` again")
    said = plan.model_dump(mode="json") | {"run": plan.run, "rows": plan.rows, "parts": [each.name for each in parts]}
    files.write(files.join(home, MANIFEST), json.dumps(said, indent=1).encode())


def publish(plan: Plan, scores: str, online: str, ttl_hours: float) -> Published:
    """Put a run's scores into the online store and switch to it; what is put already stays.

    Raises ContractError where the run is not whole, or the store is away.
    """
    seal(plan, scores)
    try:
        with closing(connect(online)) as store:
            return put(store, plan, scores, timedelta(hours=ttl_hours))
    except Unavailable as error:
        raise ContractError("online store", str(error), "See [online] in project.toml, then run it again") from error


def put(store: OnlineStore, plan: Plan, scores: str, ttl: timedelta) -> Published:
    """Put a whole run's scores into a store and switch to it; raises Unavailable."""
    now, parts, rows = Clock("wall").now(), plan.parts(), 0
    sweep(store, plan.run, now)
    expires = enter(store, plan.run, now, ttl)
    marks = [prefix(plan.run) + part.name.encode() for part in parts]
    for part, mark, there in zip(parts, marks, store.read(marks), strict=True):
        if there is None:
            store.put(_values(part, plan.run, scores), expires)
            store.put([(mark, b"put")], expires)
            rows += part.rows
    switch(store, Pointer(plan.run, plan.bundle, expires.timestamp()))
    return Published(rows, expires)


def _values(part: Part, run: str, scores: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a part."""
    begins, pack = prefix(run), precomputed.SCORE.pack
    with files.opened(files.join(folder(scores, run), part.name)) as file:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=ROWS, columns=[NAME, SCORE]):
            for name, score in zip(batch[NAME].to_pylist(), batch[SCORE].to_pylist(), strict=True):
                yield begins + name, pack(score)
