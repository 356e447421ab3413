"""Services of one release on this machine, started together: a folder that they read, and who they are."""

import shutil
import time
from pathlib import Path

import httpx
from pydantic import BaseModel

from ml.contract import release
from ml.contract.release import Release
from ml.delivery.targets.started import Started, start
from ml.errors import ContractError
from ml.revision import commit
from ml.serving.server import free_port
from ml.settings import settings
from ml.store import files

FILE = "generation.json"
DRAIN = 1.0  # seconds for which a service that is told to end still answers: a request may be on its way to it
PATIENCE = 60.0  # seconds for one that drains to end


class Replica(BaseModel):
    """A service: its process, and where it takes predictions and outcomes."""

    process: Started
    url: str
    outcomes: str

    @property
    def plan(self) -> object:
        """The plan that it answers by; None while it does not."""
        state = state_of(self.url)
        return state.get("plan") if state.get("status") in ("ready", "degraded") else None

    @property
    def page(self) -> str | None:
        """What it tells Prometheus; None where it does not answer."""
        try:
            return httpx.get(f"{self.url}/metrics", timeout=5).raise_for_status().text
        except httpx.HTTPError:
            return None


class Generation(BaseModel):
    """The services, with which bundles and by which code they were started."""

    folder: Path
    bundles: list[str]
    revision: str | None
    replicas: list[Replica] = []

    @property
    def runs(self) -> bool:
        """Whether all of its services do."""
        return all(each.process.runs for each in self.replicas)

    def takes(self, told: Release) -> bool:
        """Whether a release needs no new services: these run, have its bundles, and are of the code that is here."""
        return self.runs and self.revision == commit() and set(told.digests) <= set(self.bundles)

    def until_ready(self, plan: str, patience: float) -> None:
        """Return once all services go by a plan; raises ContractError where one ends, or it takes too long."""
        deadline = time.monotonic() + patience
        while not all(each.plan == plan for each in self.replicas):
            if not self.runs or time.monotonic() > deadline:
                broken = f"not every service came to answer by plan {plan}"
                raise ContractError("deploy", broken, f"See {self.folder}/serve-0.log and those beside it")
            time.sleep(0.1)

    def end(self) -> None:
        """Let all services end, and forget them."""
        for each in self.replicas:
            each.process.tell_to_end()
        for each in self.replicas:
            each.process.end(PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)


def release_file(folder: Path) -> Path:
    """Return the release that the services of a generation read."""
    return folder / "environments" / settings().release.environment / "release.yaml"


def begin(folder: Path, told: Release) -> Generation:
    """Start services; who they are is written down one by one, so that a crash leaves none unknown."""
    shutil.rmtree(folder, ignore_errors=True)
    files.write(str(release_file(folder)), release.text(told).encode())
    new = Generation(folder=folder, bundles=told.digests, revision=commit())
    for place in range(settings().deploy.replicas):
        new.replicas.append(_replica(folder, place))
        files.write(str(folder / FILE), new.model_dump_json(indent=1).encode())
    return new


def _replica(folder: Path, place: int) -> Replica:
    host, port, outcomes = "127.0.0.1", free_port(), free_port()
    variables = {
        "ML_RELEASE_FOLDER": str(folder / "environments"),
        "ML_SERVE_OUTCOMES_PORT": str(outcomes),
        "ML_SERVE_DRAIN_SECONDS": str(max(DRAIN, settings().serve.drain_seconds)),
        "BENTOML_HOME": str(folder / f"bentoml-{place}"),  # where its metrics lie: each has its own
    }
    words = ("ml", "serve", "--host", host, "--port", str(port))
    started = start(words, folder / f"serve-{place}.log", variables)
    return Replica(process=started, url=f"http://{host}:{port}", outcomes=f"http://{host}:{outcomes}")


def state_of(url: str) -> dict[str, object]:
    """Return what a service or the balancer says at /readyz; nothing where nobody answers."""
    try:
        return dict(httpx.get(f"{url}/readyz", timeout=5).json())
    except (httpx.HTTPError, ValueError):
        return {}
