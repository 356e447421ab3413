"""The life of the service: what stops it before it starts, that it is ready only with proof, and that it ends whole."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest
from conftest import NOON, ROOT, configured, copy_of_bundle, ml, one_line
from serving_parts import process

from ml.contract import bundle as bundles
from ml.contract import events
from ml.contract.bundle import CORE, digest_of, dump
from ml.errors import ContractError
from ml.eventlog.read import logged, read
from ml.problem.schema import EXAMPLE
from ml.serving import server
from ml.serving.endpoints import Endpoints
from ml.serving.process import Process


@pytest.fixture
def store(bundle: tuple[str, str], tmp_path: Path) -> Path:
    """A store of its own with the bundle in it."""
    copy_of_bundle(bundle, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def forged(bundle: tuple[str, str], tmp_path: Path) -> tuple[Path, str]:
    """A store and a bundle whose golden score is wrong, and whose hash is right all the same."""
    home = copy_of_bundle(bundle, tmp_path / "forged")
    golden = json.loads((home / "golden.json").read_bytes())
    golden[3]["score"] += 0.01
    (home / "golden.json").write_bytes(dump(golden))
    digest = digest_of({name: (home / name).read_bytes() for name in CORE})
    home.rename(home.with_name(digest))
    return tmp_path / "forged", digest


def descendants(process: int) -> Iterator[int]:
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield child
            yield from descendants(child)


def runs(process: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def ready(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    return False


def eventually(true, patience: float = 60) -> bool:
    deadline = time.monotonic() + patience
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


@pytest.fixture
def served(bundle: tuple[str, str], store: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """`ml serve` as a process of its own, as a person starts it, and where it answers."""
    port = server.free_port()
    variables = {"ML_STORE_URL": str(store), "ML_RELEASE_BUNDLE": bundle[1], "ML_EVENTS_SPOOL": str(store / "spool")}
    variables |= {"ML_SERVE_OUTCOMES_PORT": str(server.free_port())}
    command = [sys.executable, "-m", "ml", "serve", "--port", str(port)]
    with (store / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables}, stdout=log, stderr=log)
    below: list[int] = []
    try:
        url = f"http://127.0.0.1:{port}"
        assert eventually(lambda: ready(url)), (store / "log").read_text()
        below = list(descendants(process.pid))
        yield process, url
    finally:
        process.kill()
        process.wait()
        for each in filter(runs, below):
            os.kill(each, signal.SIGKILL)


def test_ml_serve_lives_in_wall_time_and_leaves_no_process_when_told_to_end(served, store: Path) -> None:
    process, url = served
    refused = httpx.post(f"{url}/predict", json=EXAMPLE, headers=NOON)
    assert refused.status_code == 400
    assert "wall time" in refused.json()["detail"][0]["reason"]
    answer = httpx.post(f"{url}/predict", json=EXAMPLE).json()
    rows = partial(read, str(store / "events/laptop"), events.PREDICTIONS)
    assert eventually(lambda: len(rows(store / "spool/laptop")) == 1)
    (row,) = rows(store / "spool/laptop").itertuples()
    assert row.request_id == answer["request_id"]
    assert abs(row.time - datetime.now(UTC)) < timedelta(minutes=5)
    assert len(rows()) == 0, "its segment is open"

    said = (store / "log").read_text().splitlines()[0]
    assert said.startswith("serve     bundle ")
    assert url in said

    started = list(descendants(process.pid))
    assert started, "a worker runs"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) is not None
    assert eventually(lambda: not any(map(runs, started)), patience=10)
    assert not ready(url)
    assert rows().request_id.tolist() == [answer["request_id"]], "what was open is closed and sent"
    assert not list((store / "spool").rglob("*.arrow"))


def test_no_service_runs_with_golden_records_that_score_otherwise(forged: tuple[Path, str]) -> None:
    store, digest = forged
    line = one_line(ml("serve", ML_STORE_URL=store, ML_RELEASE_BUNDLE=digest))
    assert line.startswith(f"error: bundle: golden records of {digest[:12]} do not score as when it was made")


def test_the_service_itself_is_not_ready_either(forged: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    store, digest = forged
    monkeypatch.setattr(server, "check", lambda host, *ports: digest)  # as a container does that starts BentoML itself
    ended, end = list[int | None](), server._end
    monkeypatch.setattr(server, "_end", lambda process: (ended.append(process.poll()), end(process)))
    variables = {"ML_STORE_URL": store, "ML_RELEASE_BUNDLE": digest, "BENTOML_CONTAINERIZED": "1"}
    with (
        configured(**variables),
        pytest.raises(ContractError, match="did not become ready"),
        server.running("127.0.0.1", server.free_port(), "wall", store / "log"),
    ):
        pytest.fail("ready without proof")
    assert "golden records" in (store / "log").read_text()
    assert ended[0] is not None, "it ends by itself, so that its pod is seen to crash"


def test_a_bundle_that_was_altered_is_not_served(bundle: tuple[str, str], store: Path) -> None:
    model = Path(bundles.folder(str(store), bundle[1])) / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    line = one_line(ml("serve", ML_STORE_URL=store, ML_RELEASE_BUNDLE=bundle[1]))
    assert line.startswith("error: bundle: ")
    assert "was altered" in line


def test_a_port_in_use_is_named(bundle: tuple[str, str], store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = one_line(ml("serve", "--port", port, ML_STORE_URL=store, ML_RELEASE_BUNDLE=bundle[1]))
    assert line.startswith(f"error: serve: 127.0.0.1:{port} cannot be used: Address already in use")
    assert line.endswith("Choose others with --port and [serve] outcomes_port")


def test_a_port_for_outcomes_that_is_in_use_is_named(bundle: tuple[str, str], store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        variables = {"ML_STORE_URL": store, "ML_RELEASE_BUNDLE": bundle[1], "ML_SERVE_OUTCOMES_PORT": port}
        line = one_line(ml("serve", "--port", server.free_port(), **variables))
    assert line.startswith(f"error: serve: 127.0.0.1:{port} cannot be used: Address already in use")


def test_a_spool_that_cannot_be_written_stops_the_start(bundle: tuple[str, str], store: Path) -> None:
    (store / "spool").write_text("a file where a folder should be")
    line = one_line(ml("serve", ML_STORE_URL=store, ML_RELEASE_BUNDLE=bundle[1]))
    assert line.startswith(f"error: store: {store}/spool/laptop cannot be written")


def test_a_token_that_could_be_guessed_stops_the_start(bundle: tuple[str, str], store: Path) -> None:
    (store / "secrets").mkdir(parents=True)
    (store / "secrets/sender-desk").write_text("guess")
    line = one_line(ml("serve", ML_STORE_URL=store, ML_RELEASE_BUNDLE=bundle[1], ML_SERVE_SECRETS=store / "secrets"))
    assert line.startswith(f"error: secrets: what {store}/secrets/sender-desk holds is shorter than 32 characters")


def test_without_a_release_there_is_nothing_to_serve(store: Path) -> None:
    line = one_line(ml("serve", ML_STORE_URL=store, ML_RELEASE_FOLDER=store / "none"))
    assert line.endswith("nothing is released. Run `ml release`")


def test_a_release_file_that_cannot_be_read_is_named(store: Path) -> None:
    (store / "file").touch()
    line = one_line(ml("serve", ML_STORE_URL=store, ML_RELEASE_FOLDER=store / "file"))
    assert "Not a directory" in line
    assert str(store / "file") in line


def test_a_simulated_service_answers_only_once_it_was_told_the_time(bundle: tuple[str, str], tmp_path: Path) -> None:
    async def ask(served: Process) -> list[int]:
        transport = httpx.ASGITransport(Endpoints(None, lambda: served))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            asked = [await client.post("/predict", json=EXAMPLE, headers=told) for told in ({}, NOON, {})]
            return [answer.status_code for answer in asked]

    with process(bundle, tmp_path, "simulated") as served:
        assert asyncio.run(ask(served)) == [400, 200, 200]
        served.log.flush()
        assert [time.isoformat() for time in logged(events.PREDICTIONS).time] == [NOON["X-Simulated-Time"]] * 2
