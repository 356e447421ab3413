"""The service, as its clients meet it: a real server, real records, and whatever else comes in over HTTP."""

import http.client
import resource
import time
from datetime import datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from conftest import NOON, Client, Server, nothing_known
from jsonschema import Draft202012Validator

from ml.contract import bundle as bundles
from ml.contract import events
from ml.features.table import NAMES, columns_of, inputs, json_of_frame
from ml.problem.schema import EXAMPLE, Flight
from ml.settings import settings


def many(records: pd.DataFrame, rows: int) -> list[dict[str, Any]]:
    return json_of_frame(records.iloc[:: len(records) // rows][:rows])


def test_one_and_many_get_the_same_answers_in_order(client: Client, records: pd.DataFrame) -> None:
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
    client: Client, server: Server, bundle: tuple[str, str], records: pd.DataFrame
) -> None:
    sent, loaded = many(records, 100), bundles.load(*bundle)
    answers = client.post("/predict", json=sent).json()
    given = nothing_known(columns_of([Flight.model_validate(each, strict=False) for each in sent]))
    scores = loaded.scorer.score(inputs(given))
    assert [answer["score"] for answer in answers] == pytest.approx(scores.tolist(), abs=1e-6)
    assert [answer["decision"] for answer in answers] == (scores >= loaded.threshold).tolist()
    assert {answer["bundle"] for answer in answers} == {server.digest}


def test_every_prediction_is_logged_with_what_was_given_and_answered(client: Client, server: Server) -> None:
    answer = client.post("/predict", json={**EXAMPLE, "aircraft_built": None, "tailnum": None}).json()
    row = server.predictions()[answer["request_id"]]
    assert row["time"].isoformat() == NOON["X-Simulated-Time"]
    assert {name: row[name] for name in answer} == answer
    assert [name for name in row if name.startswith("features.")] == [f"features.{name}" for name in NAMES]
    assert row["features.distance"] == EXAMPLE["distance"]
    assert np.isnan(row["features.aircraft_age"])
    assert row["features.tailnum"] == ""
    assert [row[f"key.{name}"] for name in ("carrier", "flight", "origin", "dest")] == ["UA", 1545, "EWR", "IAH"]
    assert row["key.scheduled_departure"] == datetime.fromisoformat(EXAMPLE["scheduled_departure"])
    assert 0 < row["seconds"] < 60
    assert (row["fallback"], row["degraded"], row["stored"]) == ("", False, False)


def test_a_prediction_names_the_entity_by_a_hash_that_this_environment_alone_can_make(
    client: Client, server: Server
) -> None:
    asked = [{**EXAMPLE, "tailnum": tailnum} for tailnum in ("N14228", "N24211", "N14228", None)]
    answers = client.post("/predict", json=asked).json()
    told = server.predictions()
    one, other, again, by_flight = (told[answer["request_id"]]["entity"] for answer in answers)
    assert one == again == events.entity("tailnum", "N14228")
    assert other == events.entity("tailnum", "N24211")
    assert by_flight == events.entity("flight", 1545.0)
    assert len({one, other, by_flight}) == 3


@pytest.mark.parametrize("path", ["/readyz", "/livez"])
def test_it_says_that_it_is_ready_and_alive(client: Client, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.slow
def test_a_connection_that_was_idle_for_seconds_still_takes_a_request(client: Client) -> None:
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port)
    connection.auto_open = 0  # never a second one: a balancer's next request would be lost
    connection.connect()
    for idle in (0, 6):  # of uvicorn's own five
        time.sleep(idle)
        connection.request("GET", "/readyz")
        assert connection.getresponse().read()
    connection.close()


def test_its_front_page_names_its_places_and_loads_nothing(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "application/json"
    assert all(client.get(page.json()[name]).status_code == 200 for name in ("openapi", "metrics", "ready"))


def test_predictions_never_meet_the_middlewares_of_bentoml(client: httpx.Client, count) -> None:
    count("ml_prediction_seconds_count")
    count("bentoml_service_request_total")
    for _ in range(3):
        assert client.post("/predict", json=EXAMPLE).status_code == 200
    assert count("ml_prediction_seconds_count") == 3
    assert count("bentoml_service_request_total") == 0


def test_openapi_has_the_example_and_the_bounds(client: Client) -> None:
    described = client.get("/docs.json").json()
    record = described["components"]["schemas"]["Flight"]
    assert record["example"] == EXAMPLE
    assert record["additionalProperties"] is False
    assert (record["properties"]["distance"]["minimum"], record["properties"]["distance"]["maximum"]) == (10, 10000)
    assert record["properties"]["carrier"]["pattern"] == "^[A-Z0-9]{2}$"
    assert "tailnum" not in record["required"]
    assert "/outcomes" not in described["paths"], "who predicts has no business there"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (EXAMPLE, 200),
        ([EXAMPLE, EXAMPLE], 200),
        ({**EXAMPLE, "tailnum": None}, 200),
        ({**EXAMPLE, "distance": -1}, 400),
        ([EXAMPLE, {}], 400),
        ({**EXAMPLE, "delay": 1}, 400),
    ],
)
def test_openapi_takes_what_the_service_takes_and_describes_what_it_answers(client: Client, body, status: int) -> None:
    described = client.get("/docs.json").json()
    predict = described["paths"]["/predict"]["post"]

    def valid(content: Any, of: dict) -> bool:
        schema = of["content"]["application/json"]["schema"] | {"components": described["components"]}
        return Draft202012Validator(schema).is_valid(content)

    answer = client.post("/predict", json=body)
    assert answer.status_code == status
    assert valid(body, predict["requestBody"]) == (status == 200)
    assert valid(answer.json(), predict["responses"][str(status)])
    assert not valid("another", predict["responses"][str(status)])
    assert described["info"]["title"] == settings().project.name


def test_null_and_unknown_categories_are_served_and_counted(client: Client, server: Server, count) -> None:
    asked = [("ml_missing_values_total", "aircraft_seats"), ("ml_missing_values_total", "aircraft_model")]
    asked += [("ml_unknown_categories_total", "dest"), ("ml_unknown_categories_total", "tailnum")]
    for name, feature in asked:
        count(name, feature=feature)
    count("ml_predictions_total", bundle=server.digest[:12])
    odd = {**EXAMPLE, "aircraft_seats": None, "aircraft_model": None, "dest": "ZZZ", "tailnum": "N0SUCH"}
    assert client.post("/predict", json=[odd, odd, EXAMPLE]).status_code == 200
    assert [count(name, feature=feature) for name, feature in asked] == [2, 2, 2, 2]
    assert count("ml_predictions_total", bundle=server.digest[:12]) == 3


def test_absent_optional_fields_score_as_null_ones(client: Client) -> None:
    optional = {name for name, field in Flight.model_fields.items() if not field.is_required()}
    bare = {name: value for name, value in EXAMPLE.items() if name not in optional}
    absent, null = client.post("/predict", json=[bare, bare | dict.fromkeys(optional)]).json()
    assert absent["score"] == null["score"]


@pytest.mark.parametrize("told", ["noon", "2013-04-01T12:00:00", "é"])
def test_a_simulated_time_that_is_none_is_refused(client: Client, told: str) -> None:
    answer = client.post("/predict", json=EXAMPLE, headers={"X-Simulated-Time": told.encode()})
    assert answer.status_code == 400
    assert answer.json()["detail"][0]["field"] == "x-simulated-time"


def test_simulated_time_is_as_told_and_never_goes_far_back(client: Client, server: Server) -> None:
    noon = datetime.fromisoformat(NOON["X-Simulated-Time"])
    late, long_ago = ({"X-Simulated-Time": (noon + timedelta(days=apart)).isoformat()} for apart in (1, -8))
    client.post("/predict", json=EXAMPLE, headers=late)
    answer = client.post("/predict", json=EXAMPLE, headers=NOON).json()
    assert server.predictions()[answer["request_id"]]["time"] == noon
    refused = client.post("/predict", json=EXAMPLE, headers=long_ago)
    assert refused.status_code == 400
    assert "start the service anew" in refused.json()["detail"][0]["reason"]


def test_while_the_log_cannot_be_written_predictions_wait_in_memory_and_outcomes_are_refused(
    client: Client, observer: httpx.Client, server: Server, count
) -> None:
    client.post("/predict", json=EXAMPLE)
    before, worker = len(server.predictions()), server.worker()
    count("ml_lost_events_total")
    limits = resource.prlimit(worker, resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))  # a full disk
    try:
        answers = client.post("/predict", json=[EXAMPLE] * 3)
        outcome = {"request_id": answers.json()[0]["request_id"], "outcome": True}
        refused = observer.post("/outcomes", json=outcome)
        state = client.get("/readyz")
        metrics = client.get("/metrics").text
        seen = len(server.predictions())
    finally:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, limits)
    assert (answers.status_code, refused.status_code) == (200, 503)
    assert "send them again" in refused.json()["error"]
    assert (state.status_code, state.json()["status"]) == (200, "degraded")
    assert "File too large" in state.json()["event_log"]
    assert "ml_event_log_up 0.0" in metrics
    assert seen == before
    assert observer.post("/outcomes", json=outcome).status_code == 200
    found = server.predictions()
    assert len(found) == before + 3
    assert {answer["request_id"] for answer in answers.json()} <= set(found)
    assert count("ml_lost_events_total") == 0
    assert client.get("/readyz").json()["status"] == "ready"
    assert "ml_event_log_up 1.0" in client.get("/metrics").text
