"""Outcomes: on a port of their own, from who has a token, all of a request or none, and in the log once accepted."""

import asyncio
import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Client, Server, bearer, configured
from serving_parts import answers, process

from ml.contract import events, labels, secrets
from ml.contract.schema import record_type
from ml.errors import ContractError
from ml.labelling.label import label
from ml.problem.schema import EXAMPLE
from ml.serving.body import Refused
from ml.settings import ROOT, settings

LATER = {"X-Simulated-Time": "2013-04-02T12:00:00+00:00"}
ANOTHER = "another"


def asked(client: Client, rows: int) -> list[dict[str, Any]]:
    """Return outcomes for new predictions, every other one positive."""
    told = client.post("/predict", json=[EXAMPLE] * rows).json()
    return [{"request_id": answer["request_id"], "outcome": bool(row % 2)} for row, answer in enumerate(told)]


def test_what_is_accepted_is_in_the_log_with_its_time_and_who_sent_it(
    client: Client, observer: httpx.Client, server: Server, count
) -> None:
    sent = asked(client, 2)
    count("ml_outcomes_total", sender=secrets.LAPTOP, outcome="true")
    assert observer.post("/outcomes", json=sent, headers=LATER).json() == {"accepted": 2}
    assert observer.post("/outcomes", json=sent[0], headers=LATER | bearer(ANOTHER)).json() == {"accepted": 1}
    found = server.logged(events.OUTCOMES)[-3:]
    assert found[["request_id", "outcome"]].to_dict("records") == [*sent, sent[0]]
    assert {time.isoformat() for time in found.time} == {LATER["X-Simulated-Time"]}
    assert found.sender.tolist() == [secrets.LAPTOP, secrets.LAPTOP, ANOTHER]
    assert count("ml_outcomes_total", sender=secrets.LAPTOP, outcome="true") == 1


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer laptop",
        f"Bearer {'a' * 43}",
        "Basic {token}",
        "{token}",
        "Bearer {token}x",
        "Bearer \xe9",
    ],
)
def test_who_has_no_token_is_refused_and_leaves_nothing(
    client: Client, server: Server, count, authorization: str | None
) -> None:
    sent, before = asked(client, 1), len(server.logged(events.OUTCOMES))
    count("ml_refused_requests_total", route="/outcomes", status="401")
    told = (authorization or "").replace("{token}", secrets.token()).encode("latin-1")
    headers = {} if authorization is None else {"Authorization": told}
    answer = httpx.post(f"{server.outcomes}/outcomes", json=sent, headers=headers, timeout=60)
    assert answer.status_code == 401
    assert "Authorization: Bearer" in answer.json()["error"]
    assert len(server.logged(events.OUTCOMES)) == before
    assert count("ml_refused_requests_total", route="/outcomes", status="401") == 1


def test_outcomes_and_predictions_are_taken_at_their_own_port_alone(client: Client, observer: httpx.Client) -> None:
    assert client.post("/outcomes", json=[], headers=bearer()).status_code == 404
    assert observer.post("/predict", json=EXAMPLE).status_code == 404
    assert observer.get("/metrics").status_code == 404
    assert observer.get("/outcomes").status_code == 405


def test_one_unknown_request_among_outcomes_writes_none_of_them(
    client: Client, observer: httpx.Client, server: Server
) -> None:
    (known,) = asked(client, 1)
    before = len(server.logged(events.OUTCOMES))
    answer = observer.post("/outcomes", json=[known, {"request_id": "nobody", "outcome": True}])
    assert answer.status_code == 404
    assert answer.json()["detail"] == [{"field": "request_id", "reason": "no prediction has the id nobody"}]
    assert observer.post("/outcomes", json={**known, "outcome": 1}).status_code == 400
    assert observer.post("/outcomes", json={**known, "sender": ANOTHER}).status_code == 400
    assert len(server.logged(events.OUTCOMES)) == before


def test_where_senders_disagree_nothing_is_labelled_and_who_corrects_himself_is_believed(
    client: Client, observer: httpx.Client, server: Server
) -> None:
    disputed, corrected = (each["request_id"] for each in asked(client, 2))

    def send(sender: str, name: str, value: bool) -> None:
        observed = {"request_id": name, "outcome": value}
        answer = observer.post("/outcomes", json=observed, headers=LATER | bearer(sender))
        assert answer.status_code == 200

    def labelled() -> dict[str, tuple[str, float]]:
        server.logged(events.OUTCOMES)
        with configured(ML_STORE_URL=server.store):
            label()
            rows = labels.read(settings().labels_url).set_index("request_id")
        return {name: (rows.status[name], rows.outcome[name]) for name in (disputed, corrected)}

    send(secrets.LAPTOP, disputed, True)
    send(ANOTHER, disputed, False)
    send(secrets.LAPTOP, corrected, True)
    send(secrets.LAPTOP, corrected, False)
    found = labelled()
    assert found[disputed][0] == "contradicted"
    assert found[disputed][1] != found[disputed][1]
    assert found[corrected] == ("observed", 0)
    send(ANOTHER, disputed, True)
    assert labelled() == {disputed: ("observed", 1), corrected: ("observed", 0)}


@pytest.mark.parametrize("body", [b"", b"{", b"null", b'"text"', b"[1]", b"[[]]", b"\xff\xfe", b"[" * 99999])
def test_what_is_no_outcome_is_refused_with_the_reason(observer: httpx.Client, body: bytes) -> None:
    answer = observer.post("/outcomes", content=body)
    assert answer.status_code == 400
    assert answer.json()["detail"][0]["reason"]


@pytest.mark.parametrize("chunked", [False, True])
def test_too_many_outcomes_at_once_are_refused(observer: httpx.Client, chunked: bool) -> None:
    parts = [b" " * 2**20] * 9
    answer = observer.post("/outcomes", content=iter(parts) if chunked else b"".join(parts))
    assert answer.status_code == 413
    assert "fewer records" in answer.json()["error"]


def observe(process: Any, *names: str) -> int:
    """Let a process without its server take outcomes, and return how many it accepted."""
    body = json.dumps([{"request_id": name, "outcome": True} for name in names]).encode()
    return int(asyncio.run(process._outcomes._observe("me", body, "")))


def test_a_restarted_service_takes_outcomes_of_what_it_answered_before(bundle: tuple[str, str], tmp_path: Path) -> None:
    record = record_type().model_validate_json(json.dumps(EXAMPLE))
    with process(bundle, tmp_path) as first:
        (answer,) = answers(first, [record])
    with process(bundle, tmp_path) as again:
        assert observe(again, answer["request_id"]) == 1


def test_an_outcome_for_which_there_is_no_room_is_not_answered_for(
    bundle: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with process(bundle, tmp_path) as full:
        names = events.new_request_ids("laptop", 2)
        monkeypatch.setattr("ml.eventlog.log.CAPACITY", 1)
        with pytest.raises(Refused, match="send them again") as refused:
            observe(full, *names)
        assert refused.value.status == 503
        assert observe(full, names[0]) == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of secrets of one's own."""
    with configured(ML_SERVE_SECRETS=tmp_path / "secrets"):
        yield tmp_path / "secrets"


def test_a_laptop_has_a_token_that_nobody_else_can_read(folder: Path) -> None:
    (made,) = secrets.senders()
    assert secrets.senders() == {made: secrets.LAPTOP}
    assert secrets.token() == made
    assert len(made) >= 32
    assert stat.S_IMODE((folder / f"sender-{secrets.LAPTOP}").stat().st_mode) == 0o600


def test_mounted_tokens_are_those_of_the_files_names(folder: Path) -> None:
    (folder / "..data").mkdir(parents=True)  # as Kubernetes does
    for name in ("billing", "desk"):
        (folder / f"sender-{name}").write_text(f"{name * 10}\n")
    assert secrets.senders() == {"billing" * 10: "billing", "desk" * 10: "desk"}


@pytest.mark.parametrize(
    ("files", "broken"),
    [
        ({"sender-desk": "short"}, "sender-desk holds is shorter than 32"),
        ({"sender-desk": ""}, "sender-desk holds is shorter than 32"),
        ({"sender-desk": "a" * 32, "sender-till": "a" * 32}, "desk and till have one token"),
    ],
)
def test_secrets_that_are_none_stop_the_start(folder: Path, files: dict[str, str], broken: str) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    with pytest.raises(ContractError, match=f"^secrets: .*{broken}"):
        secrets.senders()


def test_processes_that_begin_at_once_have_the_same_salt(folder: Path) -> None:
    code = "from ml.contract.secrets import salt; input(); print(salt().hex())"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    begun = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(4)]
    for each in begun:
        each.stdin.write("\n")
        each.stdin.flush()
    assert len({each.communicate()[0] for each in begun}) == 1


def test_a_salt_that_could_be_guessed_is_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / "salt").write_text("pepper")
    with pytest.raises(ContractError, match="salt holds is shorter than 32"):
        secrets.salt.__wrapped__()
