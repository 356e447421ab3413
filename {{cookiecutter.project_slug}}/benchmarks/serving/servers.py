"""The servers that are compared: how each is started, and the CPU time that it has used."""

import contextlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import httpx

from benchmarks.serving.load import request
from ml import processes
from ml.serving import server
from ml.settings import ROOT

UVICORN = ["uvicorn", "--log-level", "warning", "--no-access-log", "--loop", "uvloop", "--http", "httptools"]


class Server(NamedTuple):
    """A peer, and what it needs to be there."""

    name: str
    command: list[str]
    needs: str = "uvicorn"
    variables: Mapping[str, str] = MappingProxyType({})
    path: str = "/predict"
    body: Callable[[bytes], bytes] = bytes

    @property
    def absent(self) -> bool:
        """Whether it is not installed here."""
        return importlib.util.find_spec(self.needs) is None

    def request(self, record: bytes) -> bytes:
        """Return what asks it for the score of a record."""
        return request(self.path, self.body(record))


OURS = "ours"
BARE = "bare uvicorn"
SERVERS = [
    Server(BARE, [*UVICORN, "benchmarks.serving.bare:app", "--port"]),
    Server(OURS, ["bentoml", "serve", "ml.serving.service:Service", "--host", "127.0.0.1", "--port"], "bentoml"),
    Server(
        "bare uvicorn with tick batching",
        [*UVICORN, "benchmarks.serving.bare:app", "--port"],
        variables={"BARE_BATCHED": "yes"},
    ),
    Server("FastAPI and pydantic", [*UVICORN, "benchmarks.serving.fast:app", "--port"], "fastapi"),
    Server(
        "BentoML as in its tutorial",
        ["bentoml", "serve", "benchmarks.serving.tutorial:Tutorial", "--host", "127.0.0.1", "--port"],
        "bentoml",
    ),
    Server(
        "KServe's Python server",
        ["benchmarks.serving.kserve_model", "--enable_grpc=false", "--http_port"],
        "kserve",
        path="/v1/models/model:predict",
        body=lambda record: b'{"instances":[' + record + b"]}",
    ),
]


class Running(NamedTuple):
    """A server at work."""

    name: str
    port: int
    pid: int

    def cpu(self) -> float:
        """Return the CPU seconds that it and its children have used."""
        ticks = 0
        for pid in processes.tree(self.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(one: Server, folder: Path, core: int | None) -> Iterator[Running]:
    """Run a server on one core; yields it once it answers, and ends it."""
    port = server.free_port()
    variables = {**server.environment(), **one.variables, "BENTOML_HOME": str(folder / one.name.replace(" ", "-"))}
    variables |= {"ML_SERVE_OUTCOMES_PORT": str(server.free_port()), "ML_EVENTS_SPOOL": str(folder / "spool")}
    variables |= {"ML_EVENTS_URL": str(folder / "events")}
    pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
    with (folder / f"{one.name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *one.command, str(port)],
            cwd=ROOT,
            env=variables,
            stdout=log,
            stderr=log,
            preexec_fn=pin,
        )
    try:
        _wait(port, process, folder / f"{one.name}.log")
        yield Running(one.name, port, process.pid)
    finally:
        processes.end(process.pid)
        process.wait()


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            httpx.post(f"http://127.0.0.1:{port}/predict", content=b"{}", timeout=5)
            return
        time.sleep(0.2)
    sys.exit(f"no answer from {process.args}:\n{log.read_text()[-2000:]}")
