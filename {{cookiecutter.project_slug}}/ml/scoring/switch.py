"""Which runs the online store holds something of, and which of them counts; readers see a whole run, or the one before.

A run is entered into a list before anything of it is put, and removed from there with all of its values: by a later
run, when no reader can believe any more in a pointer to it.
"""

import json
from datetime import UTC, datetime, timedelta

from ml.contract.clock import Clock
from ml.errors import ContractError
from ml.features.precomputed import HOME, POINTER, REFRESH, Pointer, table
from ml.online.store import OnlineStore, Values

RUNS = HOME + b"runs"  # the list: of each run until when it counted, in seconds, or one of these
NOT_YET, REMOVED = 0.0, -1.0
EXPIRES = b"expires"  # in a run's table, beside its scores
GRACE = 5 * REFRESH  # seconds for which readers may still believe in the run that counted before


def sweep(store: OnlineStore, run: str, now: datetime) -> None:
    """Remove what the store holds of earlier runs, but for this one and the one that counts.

    First they are said to be removed, so that none is switched to meanwhile, and last they are forgotten, so that what
    a process that was killed left is removed by the next.
    """
    old: list[str] = []

    def without(values: Values) -> dict[bytes, bytes]:
        runs, pointer = _runs(values[0]), Pointer.load(values[1])
        kept, settled = {run, pointer and pointer.run}, now.timestamp() - GRACE
        old[:] = [each for each, at in runs.items() if at == REMOVED or (each not in kept and at < settled)]
        return {RUNS: json.dumps(runs | dict.fromkeys(old, REMOVED)).encode()}

    def forgotten(values: Values) -> dict[bytes, bytes]:
        runs = {each: at for each, at in _runs(values[0]).items() if each not in old or at != REMOVED}
        return {RUNS: json.dumps(runs).encode()}

    store.update([RUNS, POINTER], without)
    for each in old:
        store.drop(table(each))
    if old:
        store.update([RUNS], forgotten)


def enter(store: OnlineStore, run: str, now: datetime, ttl: timedelta) -> datetime:
    """Enter a run into the list and return when its values expire: with those that are there already, else in `ttl`."""
    if found := store.look_up(table(run), [EXPIRES])[0]:
        expires = datetime.fromtimestamp(float(found), UTC)
        if now < expires:
            return expires
        store.drop(table(run))
    expires = now + ttl
    store.update([RUNS], lambda values: {RUNS: json.dumps(_runs(values[0]) | {run: NOT_YET}).encode()})
    store.put(table(run), [(EXPIRES, repr(expires.timestamp()).encode())], expires)
    return expires


def switch(store: OnlineStore, pointer: Pointer) -> None:
    """Let a run count from now on; raises ContractError where another process has removed it meanwhile."""

    def switched(values: Values) -> dict[bytes, bytes]:
        runs, before = _runs(values[0]), Pointer.load(values[1])
        if runs.get(pointer.run, REMOVED) == REMOVED:
            broken = f"the scores of {pointer.run} were removed by another run meanwhile"
            raise ContractError("scores", broken, "Run `ml score` again")
        if before and before.run in runs:
            runs[before.run] = Clock("wall").now().timestamp()
        runs[pointer.run] = NOT_YET
        return {RUNS: json.dumps(runs).encode(), POINTER: pointer.dump()}

    store.update([RUNS, POINTER], switched)


def _runs(value: bytes | None) -> dict[str, float]:
    return dict(json.loads(value)) if value else {}
