"""The servers that are compared: how each is started, and the CPU time that it has used."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import httpx

from benchmarks.serving.load import request
from ml import processes
from ml.features.rows import records_of
from ml.features.table import json_of_frame
from ml.serving import server
from ml.settings import ROOT, settings

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


def _bento(service: str) -> list[str]:
    return ["bentoml", "serve", service, "--host", "127.0.0.1", "--port"]


OURS = "ours"
BARE = "bare uvicorn"
AGAIN = "bare uvicorn, again (A/A)"
SERVERS = [
    Server(BARE, [*UVICORN, "benchmarks.serving.bare:app", "--port"]),
    Server(OURS, _bento("ml.serving.service:Service"), "bentoml"),
    Server("ours without its event log", _bento("benchmarks.serving.unlogged:Service"), "bentoml"),
    Server(
        "bare uvicorn with tick batching",
        [*UVICORN, "benchmarks.serving.bare:app", "--port"],
        variables={"BARE_BATCHED": "yes"},
    ),
    Server("FastAPI and pydantic", [*UVICORN, "benchmarks.serving.fast:app", "--port"], "fastapi"),
    Server("BentoML as in its tutorial", _bento("benchmarks.serving.tutorial:Tutorial"), "bentoml"),
    Server(
        "KServe's Python server",
        ["benchmarks.serving.kserve_model", "--enable_grpc=false", "--http_port"],
        "kserve",
        path="/v1/models/model:predict",
        body=lambda record: b'{"instances":[' + record + b"]}",
    ),
]


class Running(NamedTuple):
    """A server at work, and the requests that it understands."""

    name: str
    port: int
    pid: int
    requests: list[bytes]

    @property
    def address(self) -> tuple[int, list[bytes]]:
        """Where to send what."""
        return self.port, self.requests

    def cpu(self) -> float:
        """Return the CPU seconds that it and its children have used."""
        ticks = 0
        for pid in processes.tree(self.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def records() -> list[bytes]:
    """Return records of the training window's last day, as a client sends them."""
    told = json_of_frame(records_of(settings().lake_url, [settings().data.until]))
    return [json.dumps(record).encode() for record in told]


@contextlib.contextmanager
def at_work(chosen: list[Server]) -> Iterator[list[Running]]:
    """Run servers on the first core, this process on the last; those that are not installed are left out, and told."""
    cores, told = sorted(os.sched_getaffinity(0)), records()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as held:
        found = []
        for each in chosen:
            if each.absent:
                print(f"{each.name}: {each.needs} is not installed here, left out", file=sys.stderr)
                continue
            port, pid = held.enter_context(_running(each, Path(folder), cores[0]))
            found.append(Running(each.name, port, pid, [each.request(record) for record in told]))
        os.sched_setaffinity(0, {cores[-1]})
        held.callback(os.sched_setaffinity, 0, cores)
        yield found


@contextlib.contextmanager
def _running(one: Server, folder: Path, core: int) -> Iterator[tuple[int, int]]:
    """Run a server; yields its port and process once it answers, and ends it."""
    port = server.free_port()
    log = folder / f"{port}.log"
    variables = {**server.environment(), **one.variables, "BENTOML_HOME": str(folder / str(port))}
    variables |= {"ML_SERVE_OUTCOMES_PORT": str(server.free_port()), "ML_EVENTS_SPOOL": str(folder / "spool")}
    variables |= {"ML_EVENTS_URL": str(folder / "events")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), sys.executable, "-m", *one.command, str(port)],
            cwd=ROOT,
            env=variables,
            stdout=output,
            stderr=output,
        )
    try:
        _wait(port, process, log)
        yield port, process.pid
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
