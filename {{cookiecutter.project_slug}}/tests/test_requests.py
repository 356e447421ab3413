"""Requests that the service refuses: each with its reason, and without a trace in the log."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Client, Server

from ml.problem.schema import EXAMPLE
from ml.serving.body import LIMIT

BIG = 100 * 2**20

WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "absent": ({"origin": ...}, "origin", "Field required"),
    "null where required": ({"dest": None}, "dest", "valid string"),
    "extra": ({"dep_delay": 12}, "dep_delay", "Extra inputs are not permitted"),
    "number as text": ({"distance": "1400"}, "distance", "valid integer"),
    "fraction": ({"distance": 1400.5}, "distance", "valid integer"),
    "truth as number": ({"flight": True}, "flight", "valid integer"),
    "text as number": ({"carrier": 5}, "carrier", "valid string"),
    "list": ({"tailnum": ["N14228"]}, "tailnum", "valid string"),
    "negative distance": ({"distance": -1}, "distance", "greater than or equal to 10"),
    "astronomic distance": ({"distance": 10**30}, "distance", "less than or equal to 10000"),
    "a flight of ten days": ({"scheduled_minutes": 14400}, "scheduled_minutes", "less than or equal to 1200"),
    "an aircraft older than flight": ({"aircraft_built": 1066}, "aircraft_built", "greater than or equal to 1930"),
    "no airport": ({"origin": "newark"}, "origin", "match pattern"),
    "time without offset": ({"scheduled_departure": "2013-04-01T05:15:00"}, "scheduled_departure", "timezone"),
    "time as number": ({"scheduled_departure": 1364807700}, "scheduled_departure", "valid datetime"),
    "the 31st of April": ({"scheduled_departure": "2013-04-31T05:15:00Z"}, "scheduled_departure", "valid datetime"),
    "the year 1": (
        {"scheduled_departure": "0001-01-01T00:00:00Z"},
        "scheduled_departure",
        "greater than or equal to 1930",
    ),
    "the year 9999": (
        {"scheduled_departure": "9999-12-31T23:59:00-14:00"},
        "scheduled_departure",
        "less than or equal to 2100",
    ),
}


@pytest.mark.parametrize(("change", "field", "reason"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_refused_with_field_reason_and_row(
    client: Client, server: Server, count, change: dict[str, Any], field: str, reason: str
) -> None:
    wrong = {name: value for name, value in {**EXAMPLE, **change}.items() if value is not ...}
    before, counters = len(server.predictions()), ("ml_contract_breaches_total", "ml_broken_records_total")
    for name in counters:
        count(name)
    count("ml_refused_requests_total", route="/predict", status="400")
    for body, row in ((wrong, {}), ([EXAMPLE, EXAMPLE, wrong], {"row": 2})):
        answer = client.post("/predict", json=body)
        assert answer.status_code == 400
        (detail,) = answer.json()["detail"]
        assert {name: detail[name] for name in ("field", *row)} == {"field": field, **row}
        assert reason in detail["reason"]
    assert count("ml_refused_requests_total", route="/predict", status="400") == 2
    assert [count(name) for name in counters] == [2, 2]
    assert len(server.predictions()) == before, "of a refused request nothing is scored or written"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b'"text"', b"[1]", b"[[]]", b"\xff\xfe", b'{"carrier": "UA",}', b'{"a":' * 9999, b"[" * 99999],
)
def test_what_is_no_object_is_refused(client: Client, body: bytes) -> None:
    answer = client.post("/predict", content=body)
    assert answer.status_code == 400
    assert answer.json()["detail"][0]["reason"]


def chunks() -> Iterator[bytes]:
    for _ in range(BIG // 2**20):
        yield b" " * 2**20


@pytest.mark.parametrize("how", ["announced", "chunked"])
def test_a_body_of_a_hundred_megabytes_is_refused(client: Client, server: Server, how: str) -> None:
    client.post("/predict", json=EXAMPLE)
    server.predictions()
    worker = Path("/proc", str(server.worker()), "status")
    answer = httpx.post(f"{server.url}/predict", content=b" " * BIG if how == "announced" else chunks(), timeout=60)
    assert answer.status_code == 413
    assert str(LIMIT) in answer.json()["error"]
    assert client.post("/predict", json=EXAMPLE).status_code == 200
    peak = next(int(line.split()[1]) for line in worker.read_text().splitlines() if line.startswith("VmHWM"))
    assert peak < 512 * 2**10, "the server kept what it refused"
