"""Makes a scored run count: a manifest that says it is whole, its scores in the online store, and the switch to it.

The store keeps a list of the runs that it holds something of. A run is put under a prefix of its own, part by part,
each followed by a mark, so that who was killed goes on; then one update writes the pointer. What the store holds of
earlier runs is removed by the next one, when no reader can believe in their pointer any more.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow.parquet as pq

from ml.contract.clock import Clock
from ml.errors import ContractError
from ml.features.precomputed import HOME, POINTER, REFRESH, Pointer, prefix
from ml.features.precomputed import SCORE as NUMBER
from ml.online.store import OnlineStore, Unavailable, Values, connect
from ml.scoring.plan import Part, Plan, folder
from ml.scoring.score import NAME, SCORE, absent
from ml.store import files

MANIFEST = "_manifest.json"
RUNS = HOME + b"runs"  # names of the runs that the store holds something of, and when each was last switched to, or:
NOT_YET, REMOVED = 0.0, -1.0
GRACE = 5 * REFRESH  # seconds after a switch for which readers may still believe in the run before
ROWS = 50_000  # of a part that are in memory at once
AGAIN = "Run `ml score` again"


class Published(NamedTuple):
    """What was put into the store: records by this process, and until when the run counts."""

    rows: int
    expires: datetime


def seal(plan: Plan, scores: str) -> None:
    """Write the manifest; raises ContractError where a part is not there."""
    home, parts = folder(scores, plan.run), plan.parts()
    if missing := absent(home, parts):
        broken = f"{len(missing)} of {len(parts)} files of the run {plan.run} are not there"
        raise ContractError("scores", broken, AGAIN)
    said = plan.model_dump(mode="json") | {"run": plan.run, "rows": plan.rows, "parts": [each.name for each in parts]}
    files.write(files.join(home, MANIFEST), json.dumps(said, indent=1).encode())


def publish(plan: Plan, scores: str, online: str, ttl_hours: float) -> Published:
    """Put a run's scores into the online store and switch to it; raises ContractError where the store is away.

    Nothing is done again: parts that an earlier process has put stay, and a run that counts already is left alone.
    """
    seal(plan, scores)
    try:
        with closing(connect(online)) as store:
            return _published(store, plan, scores, timedelta(hours=ttl_hours))
    except Unavailable as error:
        raise ContractError("online store", str(error), f"See [online] in project.toml; then: {AGAIN}") from error


def _published(store: OnlineStore, plan: Plan, scores: str, ttl: timedelta) -> Published:
    now = Clock("wall").now()
    _sweep(store, plan.run, now)
    expires = _expiry(store, plan.run, now, ttl)
    parts = plan.parts()
    marks = [prefix(plan.run) + part.name.encode() for part in parts]
    rows = 0
    for part, mark, there in zip(parts, marks, store.read(marks), strict=True):
        if there is None:
            store.put(_values(part, plan.run, folder(scores, plan.run)), expires)
            store.put([(mark, b"put")], expires)
            rows += part.rows
    _switch(store, Pointer(plan.run, plan.bundle, expires.timestamp()))
    return Published(rows, expires)


def _values(part: Part, run: str, home: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a part."""
    begins = prefix(run)
    with files.opened(files.join(home, part.name)) as file:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=ROWS, columns=[NAME, SCORE]):
            for name, score in zip(batch[NAME].to_pylist(), batch[SCORE].to_pylist(), strict=True):
                yield begins + name, NUMBER.pack(score)


def _expiry(store: OnlineStore, run: str, now: datetime, ttl: timedelta) -> datetime:
    """Enter a run into the list of runs and return when its values expire: as those that are there, or in `ttl`."""
    key = prefix(run) + b"expires"
    if found := store.read([key])[0]:
        expires = datetime.fromtimestamp(float(found), UTC)
        if now < expires:
            return expires
        store.remove(prefix(run))
    expires = now + ttl
    store.update([RUNS], lambda values: {RUNS: json.dumps(_runs(values[0]) | {run: NOT_YET}).encode()})
    store.put([(key, repr(expires.timestamp()).encode())], expires)
    return expires


def _switch(store: OnlineStore, pointer: Pointer) -> None:
    """Let a run count from now on; raises ContractError where another process has removed it meanwhile."""

    def switched(values: Values) -> dict[bytes, bytes]:
        runs = _runs(values[0])
        if runs.get(pointer.run, REMOVED) == REMOVED:
            broken = f"the scores of {pointer.run} were removed by another run meanwhile"
            raise ContractError("scores", broken, AGAIN)
        runs[pointer.run] = Clock("wall").now().timestamp()
        return {RUNS: json.dumps(runs).encode(), POINTER: pointer.dump()}

    store.update([RUNS, POINTER], switched)


def _sweep(store: OnlineStore, run: str, now: datetime) -> None:
    """Remove what the store holds of earlier runs, but for this one and the one that counts, with some grace.

    First they are said to be removed, so that none is switched to meanwhile, and last they are forgotten, so that what
    a process that was killed left is removed by the next.
    """
    old: list[str] = []

    def without(values: Values) -> dict[bytes, bytes]:
        runs, pointer = _runs(values[0]), Pointer.load(values[1])
        settled = now.timestamp() - max(runs.values(), default=NOT_YET) > GRACE
        kept = {run, pointer and pointer.run}
        old[:] = [each for each, at in runs.items() if at == REMOVED or (settled and each not in kept)]
        return {RUNS: json.dumps(runs | dict.fromkeys(old, REMOVED)).encode()}

    def forgotten(values: Values) -> dict[bytes, bytes]:
        runs = {each: at for each, at in _runs(values[0]).items() if each not in old or at != REMOVED}
        return {RUNS: json.dumps(runs).encode()}

    store.update([RUNS, POINTER], without)
    for each in old:
        store.remove(prefix(each))
    if old:
        store.update([RUNS], forgotten)


def _runs(value: bytes | None) -> dict[str, float]:
    return dict(json.loads(value)) if value else {}
