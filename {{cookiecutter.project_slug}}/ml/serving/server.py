"""Starts the service as a process of its own: checks first what would stop it, so that errors are one line."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx

from ml import logs, processes
from ml.contract import bundle, release, secrets
from ml.errors import ContractError
from ml.online.store import connect
from ml.progress import say
from ml.settings import ROOT, settings
from ml.store import files

KEPT = 75  # seconds for an idle connection: load balancers keep it for 60, and must never send into one that just ends


def serve(host: str, port: int) -> None:
    """Become the server; returns only by raising ContractError when it must not or cannot start."""
    logs.configure()
    outcomes = settings().serve.outcomes_port
    champion = check(host, port, outcomes)
    say(
        "serve",
        f"bundle {champion[:12]} on http://{host}:{port}, outcomes on port {outcomes}; "
        f"both logged in {settings().events_url}",
    )
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execve(sys.executable, _command(host, port), environment() | {"ML_SERVE_HOST": host})


class Service(NamedTuple):
    """Where a running service takes predictions and outcomes."""

    url: str
    outcomes: str


@contextlib.contextmanager
def running(host: str, port: int, clock: str, log: Path) -> Iterator[Service]:
    """Run the server beside this process; yields where, once it is ready, and ends it however the block ends."""
    outcomes_port = free_port()
    ours = {"ML_SERVE_HOST": host, "ML_SERVE_OUTCOMES_PORT": str(outcomes_port)}
    ours |= {"ML_SERVE_CLOCK": clock, "ML_SERVE_DRAIN_SECONDS": "0"}
    check(host, port, outcomes_port)
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(host, port),
            cwd=ROOT,
            env=environment() | ours,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        url = f"http://{host}:{port}"
        _wait(url, process, log)
        yield Service(url, f"http://{host}:{outcomes_port}")
    finally:
        _end(process)


def check(host: str, *ports: int) -> str:
    """Return the champion's digest; raises ContractError when bundles, event log, secrets or a port would stop it."""
    conf, told = settings(), release.read()
    for digest in told.digests:
        bundle.load(conf.store_url, digest).replay_golden()
    files.local(str(conf.spool), "the event log's open segments")
    secrets.salt(), secrets.senders(), secrets.callers()
    connect(conf.online_url).close()
    for port in ports:
        try:
            with socket.create_server((host, port)):
                pass
        except OSError as error:
            mend = "Choose others with --port and [serve] outcomes_port"
            raise ContractError("serve", f"{host}:{port} cannot be used: {error.strerror}", mend) from error
    return told.champion


def free_port() -> int:
    """Return a port of the loopback address that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _command(host: str, port: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "ml.serving.service:Service",
        "--host",
        host,
        "--port",
        str(port),
        "--timeout-keep-alive",
        str(KEPT),
    ]


def environment() -> dict[str, str]:
    """Return the environment of the server: nothing phones home, and its files lie in the store."""
    home = os.environ.get("BENTOML_HOME") or str(files.local(f"{settings().store_url}/bentoml", "the server's files"))
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "BENTOML_HOME": home,
        "BENTOML_CONTAINERIZED": "1",  # a worker that cannot start ends the server, and is not tried for ever
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "true",
        "ORT_DISABLE_TELEMETRY": "1",
    }


def wait_for_plan(url: str, plan: str, patience: float = 10) -> None:
    """Return once a running service goes by a plan; raises ContractError when it does not."""
    deadline = time.monotonic() + patience
    while httpx.get(f"{url}/readyz").json()["plan"] != plan:
        if time.monotonic() > deadline:
            raise ContractError("serve", f"{url} does not go by plan {plan}", "See the service's log")
        time.sleep(0.1)
    say("serve", f"goes by plan {plan} now; nothing was restarted")


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path, patience: float = 90) -> None:
    """Return once the server is ready; raises ContractError when it ends or takes longer than `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise ContractError("serve", "the server did not become ready", f"See {log}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server and its workers: politely, and after ten seconds, or when interrupted once more, by force."""
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
    finally:
        if process.poll() is None:
            processes.end(process.pid)
            process.wait()
