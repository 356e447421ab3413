"""Asks a running service what only the released model can answer: a golden record, scored here and there alike."""

import json
from typing import Any

import httpx

from ml.contract import bundle, clock, release, secrets
from ml.contract.bundle import TOLERANCE, Bundle
from ml.contract.clock import Clock
from ml.contract.schema import record_type
from ml.errors import ContractError
from ml.features.online import Online
from ml.features.table import columns_of, inputs
from ml.online.store import connect
from ml.progress import say
from ml.settings import settings

TRIES = 3  # a second or an event that lies between the two readings of the online store changes what is known


def smoke(url: str, at: str | None = None) -> None:
    """Send the champion's first golden record to the service at `url`, and score it here by the bundle that answered.

    Windowed features are as the online store knows them now, or at the simulated time `at`, for here and there. Raises
    ContractError where nobody answers, another bundle than one of the release does, or scores are apart.
    """
    store, told = settings().store_url, release.read()
    loaded = {digest: bundle.load(store, digest) for digest in told.digests}
    record = loaded[told.champion].golden[0]["record"]
    for _ in range(TRIES):
        answer = _answer(url, record, at)
        if answer["bundle"] not in loaded:
            broken = f"{url} answered by bundle {answer['bundle'][:12]}, which plan {told.plan} does not name"
            raise ContractError("smoke", broken, "Wait for the rollout, or see the service's log")
        own = _score(loaded[answer["bundle"]], record, at)
        apart = abs(answer["score"] - own)
        if apart <= TOLERANCE:
            say("smoke", f"{url} scores as bundle {answer['bundle'][:12]} does: {own:.6f}, {apart:.1g} apart")
            return
    broken = f"{url} answers {answer['score']!r} where bundle {answer['bundle'][:12]} scores {own!r}"
    raise ContractError("smoke", broken, "Does it read the same online store, and live in the same time (--at)?")


def _answer(url: str, record: Any, at: str | None) -> dict[str, Any]:
    headers = secrets.as_caller() | ({"x-simulated-time": at} if at else {})
    try:
        answer = httpx.post(f"{url}/predict", json=record, headers=headers, timeout=30)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise ContractError("smoke", f"no service answers at {url}: {reason}", "Run `ml serve` first") from error
    if answer.status_code != 200:
        raise ContractError("smoke", f"{url} answers {answer.status_code}: {answer.text}", "See the service's log")
    return dict(answer.json())


def _score(found: Bundle, record: Any, at: str | None) -> float:
    columns = columns_of([record_type().model_validate_json(json.dumps(record))])
    store = connect(settings().online_url)
    try:
        known = Online(store).known(columns, clock.parse(at) if at else Clock("wall").now())
    finally:
        store.close()
    return float(found.scorer.score(inputs(columns | known.features))[0])
