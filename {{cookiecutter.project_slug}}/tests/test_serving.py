"""The service, as its clients meet it: a real server, real records, and whatever else comes in over HTTP."""

import resource
from datetime import datetime, timedelta
from typing import Any

import httpx
import pandas as pd
import pytest
from conftest import NOON, Server, nothing_known

from ml.contract import bundle as bundles
from ml.contract import events
from ml.features.table import NAMES, columns_of, inputs, json_of_frame
from ml.problem.schema import EXAMPLE, Flight


def many(records: pd.DataFrame, rows: int) -> list[dict[str, Any]]:
    return json_of_frame(records.iloc[:: len(records) // rows][:rows])


def test_one_and_many_get_the_same_answers_in_order(client: httpx.Client, records: pd.DataFrame) -> None:
    sent = many(records, 40)
    together = client.post("/predict", json=sent).json()
    alone = [client.post("/predict", json=each).json() for each in sent]
    assert len(together) == len(alone) == 40
    for one, other in zip(together, alone, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)
        assert one["decision"] == other["decision"]
        assert one["request_id"] != other["request_id"]
    assert len({answer["score"] for answer in together}) > 20
    assert client.post("/predict", json=sent[:1]).json()[0].keys() == alone[0].keys()
    assert client.post("/predict", json=[]).json() == []


def test_answers_are_what_the_bundle_says(
    client: httpx.Client, server: Server, bundle: tuple[str, str], records: pd.DataFrame
) -> None:
    sent, loaded = many(records, 100), bundles.load(*bundle)
    answers = client.post("/predict", json=sent).json()
    given = nothing_known(columns_of([Flight.model_validate(each, strict=False) for each in sent]))
    scores = loaded.scorer.score(inputs(given))
    assert [answer["score"] for answer in answers] == pytest.approx(scores.tolist(), abs=1e-6)
    assert [answer["decision"] for answer in answers] == (scores >= loaded.threshold).tolist()
    assert {answer["bundle"] for answer in answers} == {server.digest}


def test_every_prediction_is_logged_with_what_was_given_and_answered(client: httpx.Client, server: Server) -> None:
    answer = client.post("/predict", json={**EXAMPLE, "aircraft_built": None, "tailnum": None}).json()
    event = server.predictions()[answer["request_id"]]
    assert event["time"].isoformat() == NOON["X-Simulated-Time"]
    assert {name: event[name] for name in answer} == answer
    assert list(event["features"]) == list(NAMES)
    assert event["features"]["distance"] == EXAMPLE["distance"]
    assert event["features"]["aircraft_age"] is None
    assert event["features"]["tailnum"] == ""


@pytest.mark.parametrize("path", ["/readyz", "/livez"])
def test_it_says_that_it_is_ready_and_alive(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_openapi_has_the_example_and_the_bounds(client: httpx.Client) -> None:
    described = client.get("/docs.json").json()
    record = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert record["example"] == EXAMPLE
    assert record["additionalProperties"] is False
    assert (record["properties"]["distance"]["minimum"], record["properties"]["distance"]["maximum"]) == (10, 10000)
    assert record["properties"]["carrier"]["pattern"] == "^[A-Z0-9]{2}$"
    assert "tailnum" not in record["required"]
    assert "/outcomes" in described["paths"]


def test_null_and_unknown_categories_are_served_and_counted(client: httpx.Client, server: Server, count) -> None:
    asked = [("ml_missing_values_total", "aircraft_seats"), ("ml_missing_values_total", "aircraft_model")]
    asked += [("ml_unknown_categories_total", "dest"), ("ml_unknown_categories_total", "tailnum")]
    for name, feature in asked:
        count(name, feature=feature)
    count("ml_predictions_total", bundle=server.digest[:12])
    odd = {**EXAMPLE, "aircraft_seats": None, "aircraft_model": None, "dest": "ZZZ", "tailnum": "N0SUCH"}
    assert client.post("/predict", json=[odd, odd, EXAMPLE]).status_code == 200
    assert [count(name, feature=feature) for name, feature in asked] == [2, 2, 2, 2]
    assert count("ml_predictions_total", bundle=server.digest[:12]) == 3


def test_absent_optional_fields_score_as_null_ones(client: httpx.Client) -> None:
    optional = {name for name, field in Flight.model_fields.items() if not field.is_required()}
    bare = {name: value for name, value in EXAMPLE.items() if name not in optional}
    absent, null = client.post("/predict", json=[bare, bare | dict.fromkeys(optional)]).json()
    assert absent["score"] == null["score"]


def test_an_outcome_is_logged_for_its_prediction(client: httpx.Client, server: Server) -> None:
    answers = client.post("/predict", json=[EXAMPLE, EXAMPLE]).json()
    sent = [{"request_id": answer["request_id"], "outcome": bool(row)} for row, answer in enumerate(answers)]
    later = {"X-Simulated-Time": "2013-04-02T12:00:00+00:00"}
    assert client.post("/outcomes", json=sent, headers=later).json() == {"accepted": 2}
    assert client.post("/outcomes", json=sent[0], headers=later).json() == {"accepted": 1}
    found = [event for event in events.read(server.events) if event["kind"] == "outcome"][-3:]
    assert [(event["request_id"], event["outcome"]) for event in found] == [
        (each["request_id"], each["outcome"]) for each in [*sent, sent[0]]
    ]
    assert {event["time"].isoformat() for event in found} == {later["X-Simulated-Time"]}


def test_one_unknown_request_among_outcomes_writes_none_of_them(client: httpx.Client, server: Server) -> None:
    known = client.post("/predict", json=EXAMPLE).json()["request_id"]
    before = list(events.read(server.events))
    sent = [{"request_id": known, "outcome": True}, {"request_id": "nobody", "outcome": True}]
    answer = client.post("/outcomes", json=sent)
    assert answer.status_code == 404
    assert answer.json()["detail"] == [{"field": "request_id", "reason": "no prediction has the id nobody"}]
    assert list(events.read(server.events)) == before
    assert client.post("/outcomes", json={**sent[0], "outcome": 1}).status_code == 400


@pytest.mark.parametrize("told", ["noon", "2013-04-01T12:00:00", "é"])
def test_a_simulated_time_that_is_none_is_refused(client: httpx.Client, told: str) -> None:
    answer = client.post("/predict", json=EXAMPLE, headers={"X-Simulated-Time": told.encode()})
    assert answer.status_code == 400
    assert answer.json()["detail"][0]["field"] == "x-simulated-time"


def test_simulated_time_is_as_told_and_never_goes_far_back(client: httpx.Client, server: Server) -> None:
    noon = datetime.fromisoformat(NOON["X-Simulated-Time"])
    late, long_ago = ({"X-Simulated-Time": (noon + timedelta(days=apart)).isoformat()} for apart in (1, -8))
    client.post("/predict", json=EXAMPLE, headers=late)
    answer = client.post("/predict", json=EXAMPLE, headers=NOON).json()
    assert server.predictions()[answer["request_id"]]["time"] == noon
    refused = client.post("/predict", json=EXAMPLE, headers=long_ago)
    assert refused.status_code == 400
    assert "start the service anew" in refused.json()["detail"][0]["reason"]


def test_predictions_are_answered_and_losses_counted_while_the_log_cannot_be_written(
    client: httpx.Client, server: Server, count
) -> None:
    (segment,) = server.events.glob("*.jsonl")
    worker, size = int(segment.name.partition("-")[0]), segment.stat().st_size
    count("ml_lost_events_total")
    limits = resource.prlimit(worker, resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))  # a full disk
    try:
        answers = client.post("/predict", json=[EXAMPLE] * 3)
        outcome = client.post("/outcomes", json={"request_id": answers.json()[0]["request_id"], "outcome": True})
    finally:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, limits)
    assert (answers.status_code, outcome.status_code) == (200, 503)
    assert "send them again" in outcome.json()["error"]
    assert count("ml_lost_events_total") == 3
    assert segment.stat().st_size == size
    after = client.post("/predict", json=EXAMPLE).json()["request_id"]
    found = server.predictions()
    assert after in found
    assert not {answer["request_id"] for answer in answers.json()} & set(found)
