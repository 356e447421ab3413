"""The fold as a job on a real Flink cluster, in an environment of its own: the Python path's states, to the byte."""

import base64
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import lmdb
import pandas as pd
import pytest
import yaml
from conftest import ROOT, once
from test_object_store import free_ports

from ml import processes
from ml.contract.clock import Clock
from ml.features.definition import Event, kind_of
from ml.online.embedded import Embedded
from ml.problem import source
from ml.problem.schema import EVENTS
from ml.stream.counters import Tally
from ml.stream.inbox import DEAD_LETTERS, Inbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# A folder that keeps the environment between sessions; read here, because a session forgets all variables of ours.
ENVIRONMENT = os.environ.get("ML_FLINK_ENVIRONMENT")
LOCK = ROOT / "requirements" / "flink.txt"
HERE = "127.0.0.1"
DAYS = [date(2013, 4, day) for day in range(1, 8)]
POISON = [b'{"id": 5}', b"no JSON", b""]
States = dict[bytes, tuple[bytes, ...]]


@pytest.fixture(scope="module")
def python(shared: Path) -> Iterator[Path]:
    """The Python of the environment that the lock describes."""
    java = Path(os.environ["JAVA_HOME"]) / "bin" / "java" if "JAVA_HOME" in os.environ else shutil.which("java")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr if java else ""
    if not re.search(r'version "(17|21)', told):
        pytest.skip(f"Flink needs Java 17 or 21, and here is {told.splitlines()[0] if told else 'none'}")
    folder = Path(ENVIRONMENT or shared / "flink-environment").absolute()
    made = folder / "made-from"

    def make() -> None:
        if not made.exists() or made.read_bytes() != LOCK.read_bytes():
            pip = ["-m", "pip", "install", "-qq", "--no-input", "--disable-pip-version-check", "--require-hashes"]
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([folder / "bin" / "python", *pip, "--requirement", LOCK], check=True)
            shutil.copy(LOCK, made)

    once(shared, "flink", make)
    yield folder / "bin" / "python"
    if not ENVIRONMENT:
        shutil.rmtree(folder)  # a gigabyte


@contextmanager
def started(log: Path, variables: dict[str, str], *words: object) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command and end it with all that it has started."""
    with log.open("wb") as told:
        process = subprocess.Popen(
            [str(word) for word in words], cwd=log.parent, env=os.environ | variables, stdout=told, stderr=told
        )
    try:
        yield process
    finally:
        processes.end(process.pid)
        process.wait()


def configure(home: Path, folder: Path) -> tuple[str, dict[str, str]]:
    """Keep a cluster to the loopback address and the folder; return its REST address and its variables."""
    rest, rpc = free_ports(2)
    hosts = ("rest.address", "rest.bind-address", "jobmanager.rpc.address", "jobmanager.bind-host")
    settings = {
        "env": yaml.safe_load((home / "conf" / "config.yaml").read_text())["env"],  # what Java 17 must open
        **dict.fromkeys((*hosts, "taskmanager.host", "taskmanager.bind-host"), HERE),
        "rest.port": rest,
        "jobmanager.rpc.port": rpc,
        "jobmanager.memory.process.size": "1g",
        "taskmanager.memory.process.size": "1728m",
        "taskmanager.numberOfTaskSlots": 2,
        "io.tmp.dirs": str(folder / "scratch"),
    }
    shutil.copytree(home / "conf", folder / "conf")
    (folder / "conf" / "config.yaml").write_text(yaml.safe_dump(settings, width=10**6))
    places = {f"FLINK_{name}_DIR": folder / name.lower() for name in ("CONF", "LOG", "PID")}
    for place in (*places.values(), folder / "scratch"):
        place.mkdir(exist_ok=True)
    return f"http://{HERE}:{rest}", {name: str(place) for name, place in places.items()}


def wait(rest: str, *members: subprocess.Popen[bytes]) -> None:
    """Wait until the TaskManager has told the JobManager of itself."""
    for _ in range(240):
        assert all(member.poll() is None for member in members), "the cluster did not start"
        try:
            if httpx.get(f"{rest}/overview").json()["taskmanagers"]:
                return
        except (httpx.HTTPError, KeyError):
            pass
        time.sleep(0.5)
    raise AssertionError("the cluster did not start")


def run(python: Path, folder: Path, *arguments: object) -> str:
    """Start a cluster, submit the job as a person does, and return what Flink says of it when it has ended."""
    (home,) = python.parents[1].glob("lib/python*/site-packages/pyflink")
    rest, variables = configure(home, folder)
    code = shutil.make_archive(str(folder / "ml"), "zip", ROOT, "ml")
    submitted = [home / "bin" / "flink", "run", "-py", ROOT / "ml" / "stream" / "flink.py", "-pyfs", code]
    submitted += ["-pyexec", python, "-pyclientexec", python, *arguments]
    with (
        started(folder / "jobmanager.log", variables, home / "bin" / "jobmanager.sh", "start-foreground") as manager,
        started(folder / "taskmanager.log", variables, home / "bin" / "taskmanager.sh", "start-foreground") as worker,
    ):
        wait(rest, manager, worker)
        with started(folder / "job.log", variables, *submitted) as job:
            assert job.wait(timeout=300) == 0, (folder / "job.log").read_text()
        (told,) = httpx.get(f"{rest}/jobs/overview").json()["jobs"]
        return str(told["state"])


def lines_of(lake: str, kind: type[Event]) -> list[bytes]:
    """Return some days of events as lines of JSON: in no order, some of them twice, and poison between them."""
    frame = pd.concat([source.read_events(lake, kind_of(kind), day) for day in DAYS])
    told = frame[list(kind.model_fields)].to_json(orient="records", lines=True, date_format="iso").encode().splitlines()
    chance = random.Random(kind_of(kind))
    lines = chance.sample([*told, *chance.sample(told, 50)], len(told) + 50)
    return [*lines[:7], *POISON, lines[0].replace(b'"id":"', b'"id":"\xff'), *lines[7:]]


def by_python(events: Path, folder: Path) -> tuple[Tally, States]:
    """Fold files as `ml stream` does; return what became of the lines, and each key's state and seen ids."""
    tally = Tally()
    with closing(Embedded(str(folder))) as store:
        inbox = Inbox(str(events), store, Clock("wall"), tally)
        while not inbox.finished():
            inbox.step()
    with lmdb.open(str(folder), readonly=True, lock=False) as opened, opened.begin() as transaction:
        found = dict(transaction.cursor())
    return tally, {key: (state, found[b"seen/" + key]) for key, state in found.items() if b"seen/" + key in found}


def written(folder: Path) -> list[dict[str, Any]]:
    """Return what the job wrote, of all its tasks and checkpoints."""
    parts = [part for part in folder.rglob("part-*") if part.is_file()]
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def letters(lines: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    return sorted((line["file"], line["line"], line["reason"]) for line in lines)


def test_a_flink_cluster_folds_to_the_same_states_as_python(python: Path, lake: str, tmp_path: Path) -> None:
    events, output = tmp_path / "events", tmp_path / "output"
    events.mkdir()
    for kind in EVENTS:
        (events / f"{kind_of(kind)}.jsonl").write_bytes(b"\n".join([*lines_of(lake, kind), b""]))
    tally, expected = by_python(events, tmp_path / "store")
    assert min(tally.folded, tally.duplicate, tally.late, tally.dead) > 0, "the events try all that can become of one"

    state = run(python, tmp_path, "--events", events, "--output", output, "--parallelism", 2)

    assert state == "FINISHED"
    states = sorted(written(output / "states"), key=lambda line: int(line["number"]))
    assert len(states) == tally.folded, "each state is told once"
    last = {line["key"].encode(): line for line in states}
    found = {key: tuple(base64.b64decode(line[part]) for part in ("state", "seen")) for key, line in last.items()}
    assert found == expected
    dead = [json.loads(line) for line in (events / DEAD_LETTERS).read_text().splitlines()]
    assert letters(written(output / "dead")) == letters(dead)
