"""Makes a scored run count: its scores in the online store, a manifest that says it is whole, and the switch to it.

Scores are put part by part, as these come to lie there, each followed by a mark: who was killed goes on behind the
last.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import NamedTuple

import pyarrow.parquet as pq

from ml.contract.clock import Clock
from ml.errors import ContractError
from ml.features import precomputed
from ml.features.precomputed import Pointer, table
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


def whole(plan: Plan, scores: str) -> list[Part]:
    """Return the parts of a run that was scored whole; raises ContractError where one is not there."""
    parts = plan.parts()
    if missing := absent(folder(scores, plan.run), parts):
        broken = f"{len(missing)} of {len(parts)} files of the run {plan.run} are not there"
        raise ContractError("scores", broken, "Run `ml score` again")
    return parts


def publish(plan: Plan, parts: Iterable[Part], scores: str, online: str, ttl_hours: float) -> Published:
    """Put all parts of a run into the online store and switch to it; what is put already stays.

    Raises ContractError where the store is away, and what making the parts raises.
    """
    try:
        with closing(connect(online)) as store:
            return put(store, plan, parts, scores, timedelta(hours=ttl_hours))
    except Unavailable as error:
        raise ContractError("online store", str(error), "See [online] in project.toml, then run it again") from error


def put(store: OnlineStore, plan: Plan, parts: Iterable[Part], scores: str, ttl: timedelta) -> Published:
    """Put all parts of a run into a store and switch to it; raises Unavailable."""
    now, rows = Clock("wall").now(), 0
    sweep(store, plan.run, now)
    expires = enter(store, plan.run, now, ttl)
    for part in parts:
        mark = part.name.encode()
        if store.look_up(table(plan.run), [mark]) == [None]:
            store.put(table(plan.run), _values(part, plan.run, scores), expires)
            store.put(table(plan.run), [(mark, b"put")], expires)
            rows += part.rows
    seal(plan, scores)
    switch(store, Pointer(plan.run, plan.bundle, expires.timestamp()))
    return Published(rows, expires)


def seal(plan: Plan, scores: str) -> None:
    """Write the manifest of a whole run."""
    parts = [part.name for part in plan.parts()]
    said = plan.model_dump(mode="json") | {"run": plan.run, "rows": plan.rows, "parts": parts}
    files.write(files.join(folder(scores, plan.run), MANIFEST), json.dumps(said, indent=1).encode())


def _values(part: Part, run: str, scores: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names and scores of a part."""
    pack = precomputed.SCORE.pack
    with files.opened(files.join(folder(scores, run), part.name)) as file:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=ROWS, columns=[NAME, SCORE]):
            names, found = (batch[each].to_numpy(zero_copy_only=False) for each in (NAME, SCORE))
            for name, score in zip(names.tolist(), found.tolist(), strict=True):
                yield name, pack(score)
