"""Where requests break the contract: counted by field and kind, in a bounded number of series, and only then."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from ml.contract.schema import columns, record_type
from ml.problem.schema import EXAMPLE
from ml.serving import breaches
from ml.serving.body import Body, Broken
from ml.serving.endpoints import Endpoints

BODY = Body(record_type())


def counted() -> dict[tuple[str, str], float]:
    """Return what was counted so far, by field and kind."""
    (family,) = [each for each in REGISTRY.collect() if each.name == "ml_contract_breaches"]
    found = [each for each in family.samples if each.name == "ml_contract_breaches_total"]
    return {(each.labels["field"], each.labels["kind"]): each.value for each in found}


def broken() -> float:
    return REGISTRY.get_sample_value("ml_broken_records_total") or 0


def refused(body: bytes) -> tuple[dict[tuple[str, str], float], float]:
    """Return what a refused body adds: breaches by field and kind, and records."""
    before, records = counted(), broken()
    with pytest.raises(Broken) as error:
        BODY.parse(body)
    breaches.count(error.value.errors, error.value.listed)
    added = {each: value - before.get(each, 0) for each, value in counted().items()}
    return {each: value for each, value in added.items() if value}, broken() - records


def changed(**change: Any) -> dict[str, Any]:
    """Return the example with a change; an ellipsis takes a field away."""
    return {name: value for name, value in {**EXAMPLE, **change}.items() if value is not ...}


@pytest.mark.parametrize(
    ("change", "field", "kind"),
    [
        ({"origin": ...}, "origin", "missing"),
        ({"dest": None}, "dest", "missing"),
        ({"distance": "1400"}, "distance", "type"),
        ({"scheduled_departure": "2013-04-01T05:15:00"}, "scheduled_departure", "type"),
        ({"distance": -1}, "distance", "range"),
        ({"distance": 10**9}, "distance", "range"),
        ({"origin": "newark"}, "origin", "range"),
        ({"made_up": None}, "other", "unknown"),
    ],
)
def test_a_breach_is_counted_by_field_and_kind(change: dict[str, Any], field: str, kind: str) -> None:
    assert refused(json.dumps(changed(**change)).encode()) == ({(field, kind): 1}, 1)


@pytest.mark.parametrize(
    ("body", "kind"), [(b"", "unreadable"), (b"{", "unreadable"), (b"[", "unreadable"), (b"null", "type")]
)
def test_what_is_no_record_is_no_fields_breach(body: bytes, kind: str) -> None:
    assert refused(body) == ({("other", kind): 1}, 1)


def test_of_a_list_each_broken_record_is_counted_once() -> None:
    rows = [EXAMPLE, changed(distance=-1, flight=0), None, EXAMPLE, changed(distance=-1)]
    found = {("distance", "range"): 2, ("flight", "range"): 1, ("other", "type"): 1}
    assert refused(json.dumps(rows).encode()) == (found, 3)


def test_a_caller_cannot_make_series_up() -> None:
    for number in range(50):
        refused(json.dumps(changed(**{f"made_up_{number}": number})).encode())
    assert {field for field, _ in counted()} <= {column.name for column in columns()} | {"other"}


def asked(body: bytes) -> int:
    """Return the status that the endpoint answers a request with."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    process = SimpleNamespace(draining=False, set_clock=lambda told: None)
    endpoints = Endpoints(None, lambda: process)  # type: ignore[arg-type, return-value]
    endpoints._batching = SimpleNamespace(submit=lambda records, came: answered())  # type: ignore[assignment]
    scope = {"type": "http", "path": "/predict", "method": "POST", "headers": []}
    asyncio.run(endpoints(scope, receive, send))
    return int(sent[0]["status"])


async def answered() -> list[str]:
    return ["{}"]


def test_the_endpoint_counts_what_it_refuses_and_nothing_of_what_it_answers() -> None:
    before = broken()
    assert asked(json.dumps(changed(distance=-1)).encode()) == 400
    assert broken() == before + 1
    assert asked(json.dumps(EXAMPLE).encode()) == 200
    assert broken() == before + 1
