"""What tests share: a lake, one bundle trained on it, real records and a running service; all of it outside the tree.

What is costly is made once for all of pytest's workers and only read; a test that changes something takes a copy.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ml.contract import bundle as bundles
from ml.contract import events, secrets
from ml.eventlog.read import read
from ml.features.definition import Columns
from ml.features.rows import records_of
from ml.features.table import WINDOWED
from ml.problem import source
from ml.serving.server import free_port, running
from ml.settings import settings

ROOT = Path(__file__).resolve().parents[1]
QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "ORT_DISABLE_TELEMETRY": "1",
    "WHYLOGS_NO_ANALYTICS": "1",
}

NOON = {"X-Simulated-Time": "2013-04-01T12:00:00+00:00"}

Ran = subprocess.CompletedProcess[str]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background: what tests start could not be interrupted
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files of which every test is slow begin first: one that began last would run alone at the end."""
    quick = {item.path for item in items if not item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path in quick)


class Server(NamedTuple):
    """A running service: where it takes requests and outcomes, its store, its log and spool, and what it serves."""

    url: str
    outcomes: str
    store: Path
    events: Path
    spool: Path
    digest: str

    def logged(self, table: str) -> pd.DataFrame:
        """Return a table of the log with all that was answered: no outcomes at all are accepted once that is written.

        A service that has not been told the time refuses even those, and has answered nothing.
        """
        httpx.post(f"{self.outcomes}/outcomes", json=[], headers=bearer(), timeout=60)
        return read(str(self.events), table, self.spool)

    def predictions(self) -> dict[str, dict[str, Any]]:
        """Return the predictions in the log, by request id."""
        return {row["request_id"]: row for row in self.logged(events.PREDICTIONS).to_dict("records")}

    def worker(self) -> int:
        """Return the process that answers: the one that holds a segment of the log, once it has answered."""
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with suppress(OSError):  # it has ended meanwhile, or is another user's
                if link.readlink().is_relative_to(self.spool):
                    return int(link.parts[2])
        raise AssertionError("no process holds a segment")


def bearer(sender: str = secrets.LAPTOP) -> dict[str, str]:
    """Return the header by which a sender of outcomes is known."""
    return {"Authorization": f"Bearer {secrets.token(sender)}"}


def own_spool(variables: Mapping[str, object]) -> dict[str, object]:
    """Let a store have a spool of its own, as every node has: else what one store logs were another's as well."""
    store = str(variables.get("ML_STORE_URL", "://"))
    return {**variables} if "://" in store else {"ML_EVENTS_SPOOL": f"{store}/spool", **variables}


@contextmanager
def configured(**variables: object) -> Iterator[None]:
    """Set variables, names as ML_STORE_URL, for a while, and let the settings be read anew."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own_spool(variables).items():
            patch.setenv(name, str(value))
        settings.cache_clear()
        yield
    settings.cache_clear()


def ml(*words: object, cwd: Path = ROOT, **variables: object) -> Ran:
    """Run a verb as a person does, with variables set."""
    environment = {**os.environ, **{name: str(value) for name, value in own_spool(variables).items()}}
    command = [sys.executable, "-m", "ml", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def one_line(ran: Ran) -> str:
    """Return the one line with which a verb failed, having printed nothing else."""
    assert ran.returncode == 1, f"exit code {ran.returncode}: {ran.stdout}{ran.stderr}"
    (line,) = ran.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers of this session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def environment(shared: Path) -> Iterator[None]:
    """Nothing is written into the tree or told to anybody; only where the lake lies may be given from outside."""
    lake = os.environ.get("ML_DATA_URL", str(shared / "lake"))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("ML_")]:
            patch.delenv(name)
        ours = {"ML_DATA_URL": lake, "ML_STORE_URL": shared / "store", "ML_RELEASE_FOLDER": shared / "none"}
        with configured(**QUIET, **ours, ML_SERVE_SECRETS=shared / "secrets"):
            yield


def once(shared: Path, name: str, make: Callable[[], None]) -> None:
    """Make something unless another worker did; the others wait for it."""
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = shared / f"{name}.made"
        if not made.exists():
            make()
            made.touch()


@pytest.fixture(scope="session")
def lake(shared: Path, environment: None) -> str:
    """Where the year's partitions lie."""
    url = settings().lake_url
    once(shared, "lake", lambda: list(source.publish(url)) and None)
    return url


@pytest.fixture(scope="session")
def bundle(shared: Path, lake: str) -> tuple[str, str]:
    """The store and the digest of what `ml pipeline run` registered."""

    def make() -> None:
        ran = ml("pipeline", "run")
        assert ran.returncode == 0, ran.stdout + ran.stderr

    once(shared, "bundle", make)
    return settings().store_url, bundles.newest(settings().store_url)


@pytest.fixture(scope="session")
def records(lake: str) -> pd.DataFrame:
    """Three days of raw records and what was known, of a month that training did not see."""
    return records_of(lake, pd.date_range("2013-04-01", "2013-04-03").date.tolist())


def nothing_known(columns: Columns) -> Columns:
    """Return records as they are when the online store is empty."""
    rows = len(next(iter(columns.values())))
    return {**columns, **{feature.name: np.full(rows, np.nan) for feature in WINDOWED}}


def copy_of_bundle(bundle: tuple[str, str], store: Path) -> Path:
    """Put the shared bundle, what it had to beat and the verdict into a store of one's own; return its folder."""
    for folder in ("bundles", "verdicts"):
        shutil.copytree(Path(bundle[0]) / folder, store / folder)
    return Path(bundles.folder(str(store), bundle[1]))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project whose files a test may change."""
    copy = tmp_path / "project"
    for name in ("ml", "requirements"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("project.toml", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def server(bundle: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service with the shared bundle, in simulated time, and with a store of its own."""
    store = tmp_path_factory.mktemp("served")
    copy_of_bundle(bundle, store)
    for sender in (secrets.LAPTOP, "another"):
        secrets.token(sender)  # who has none when it starts is not known to it
    with (
        configured(ML_STORE_URL=store, ML_RELEASE_BUNDLE=bundle[1]),
        running("127.0.0.1", free_port(), "simulated", store / "serve.log") as service,
    ):
        yield Server(*service, store, Path(settings().events_url), settings().spool, bundle[1])


class Client(httpx.Client):
    """Somebody who asks a service, and knows how many records were answered."""

    answered = 0

    def post(self, *given: Any, **named: Any) -> httpx.Response:
        """Send records."""
        answer = super().post(*given, **named)
        if answer.status_code == 200:
            self.answered += len(answer.json()) if isinstance(answer.json(), list) else 1
        return answer


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    """Somebody who asks the service at noon of a day in April."""
    with Client(base_url=server.url, headers=NOON, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def observer(server: Server) -> Iterator[httpx.Client]:
    """Somebody who may tell outcomes."""
    with httpx.Client(base_url=server.outcomes, headers=bearer(), timeout=60) as observer:
        yield observer


@pytest.fixture
def count(client: Client) -> Callable[..., float]:
    """Return how much a metric with these labels changed since it was first asked for.

    Answers are counted a moment after they were given, so all that the client got are waited for.
    """
    first: dict[str, float] = {}

    def found(name: str, **labels: str) -> float:
        families = text_string_to_metric_families(client.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def value(name: str, **labels: str) -> float:
        deadline = time.monotonic() + 30
        while found("ml_prediction_seconds_count") < client.answered and time.monotonic() < deadline:
            time.sleep(0.02)
        now = found(name, **labels)
        return now - first.setdefault(f"{name}{labels}", now)

    return value
