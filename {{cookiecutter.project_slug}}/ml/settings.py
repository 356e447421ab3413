"""project.toml, overridden by ML_<TABLE>_<KEY>: read once, here and nowhere else."""

import json
import os
import tomllib
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from ml.errors import ContractError, first

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = r"^[a-z][a-z0-9-]*$"
InVariables = BeforeValidator(lambda value: json.loads(value) if isinstance(value, str) else value)  # a list as JSON


class Table(BaseModel):
    """One table of project.toml; a key that nothing reads is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Project(Table):
    """The name tag."""

    name: str = Field(min_length=1)
    slug: str = Field(min_length=1)
    description: str


class Store(Table):
    """Where data, bundles, events and reports live."""

    url: str = Field(min_length=1)


class Data(Table):
    """What training reads: partitions by day from `since` to `until`, both included."""

    url: str = Field(min_length=1)
    since: date
    until: date


class Train(Table):
    """How training runs, and which rungs of the ladder it climbs."""

    seed: int
    threads: int = Field(ge=1)
    rungs: Annotated[list[str], InVariables, Field(min_length=1)]


class Release(Table):
    """Which environment this process belongs to; `bundle` overrides what its release file names."""

    folder: str = Field(min_length=1)
    environment: str = Field(pattern=ENVIRONMENT)
    bundle: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class Promotion(Table):
    """How a bundle climbs: through which environments, by which percent, on evidence of how many days at most."""

    stages: Annotated[list[Annotated[str, Field(pattern=ENVIRONMENT)]], InVariables, Field(min_length=1)]
    canary: Annotated[list[Annotated[float, Field(gt=0, le=100)]], InVariables]
    evidence_days: float = Field(gt=0)

    @field_validator("stages", "canary")
    @classmethod
    def _upwards(cls, steps: list[Any]) -> list[Any]:
        if len(set(steps)) < len(steps) or (steps and isinstance(steps[0], float) and steps != sorted(steps)):
            raise ValueError("each step is named once, and percents grow")
        return steps


class Online(Table):
    """Where the online feature store lies: a Redis that several nodes reach, or where it is empty a directory."""

    url: str = Field(pattern=r"^$|^(/|\.{1,2}/|[a-z]+://)")


class Stream(Table):
    """Where events come from: Kafka's bootstrap servers, or, where they are empty, files in a folder."""

    brokers: str
    topic_prefix: str = Field(min_length=1)
    inbox: str = Field(min_length=1)
    metrics_host: str
    metrics_port: int = Field(ge=0, le=65535)


class Score(Table):
    """How partitions are scored: rows in memory at once, and how long the service may answer with their scores."""

    chunk_rows: int = Field(ge=1)
    ttl_hours: float = Field(gt=0)


class Serve(Table):
    """Where the service listens, whose time it believes, how long it drains, and where its secrets lie."""

    host: str
    port: int = Field(ge=1, le=65535)
    outcomes_port: int = Field(ge=1, le=65535)
    clock: Literal["wall", "simulated"]
    drain_seconds: float = Field(ge=0)
    secrets: str


class Events(Table):
    """Where predictions and outcomes are logged: closed segments in a directory or an object store, open ones here."""

    url: str
    spool: str
    segment_seconds: float = Field(gt=0)


class Log(Table):
    """What the verbs that run on write: lines for people, or JSON for machines."""

    format: Literal["text", "json"]


class Image(Table):
    """Where images are pushed to, and what they are built from; empty: nowhere, and what the Dockerfile names."""

    registry: str
    base: str


class Signing(Table):
    """Who signs verdicts and images: a key, whose files these are, or GitHub for a workflow, without one."""

    by: Literal["key", "github"]
    key: str
    public_key: str


class Deploy(Table):
    """Where releases are brought, how long each is watched there, and what takes it back."""

    target: Literal["helm", "processes"]
    context: str
    namespace: str = Field(pattern=r"^$|^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    replicas: int = Field(ge=1)
    bake_minutes: float = Field(ge=0)
    error_rate: float = Field(gt=0, lt=1)
    latency_p99_ms: float = Field(ge=0)
    drift: float = Field(gt=0, lt=1)
    breach: Literal["revert", "rollback"]


class Monitor(Table):
    """Matured days by which outcomes are judged, newest days by which inputs are, and days that profiles are kept."""

    window_days: int = Field(ge=2)
    drift_days: int = Field(ge=1)
    keep_days: int = Field(ge=1)


class Kubeflow(Table):
    """Where pipelines run that do not run on this machine; the token and the store's credentials by reference alone."""

    host: str = Field(pattern=r"^$|^https?://")
    namespace: str
    token: str
    image: str
    experiment: str = Field(min_length=1)
    secret: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    volume: str = Field(pattern=r"^$|^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")


class TrainJob(Table):
    """Rungs that Kubeflow Trainer trains in the place of steps: in what image, by which runtime, on what nodes."""

    rungs: Annotated[list[str], InVariables]
    image: str
    runtime: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    nodes: int = Field(ge=1)
    cpu: str = Field(pattern=r"^[1-9][0-9]*m?$")
    memory: str = Field(pattern=r"^[1-9][0-9]*(Mi|Gi)$")
    gpus: int = Field(ge=0)


class Demo(Table):
    """What the demo replays: first and last day of each stretch of later records."""

    replays: Annotated[list[tuple[date, date]], InVariables, Field(min_length=1)]


class Drill(Table):
    """What a drill replays: from a first day on some calm days, then at most so many with a fault."""

    since: date
    calm_days: int = Field(ge=1)
    days: int = Field(ge=1)


class Settings(Table):
    """The whole of project.toml."""

    project: Project
    store: Store
    data: Data
    train: Train
    release: Release
    promotion: Promotion
    online: Online
    stream: Stream
    score: Score
    serve: Serve
    events: Events
    log: Log
    image: Image
    signing: Signing
    deploy: Deploy
    monitor: Monitor
    kubeflow: Kubeflow
    trainjob: TrainJob
    demo: Demo
    drill: Drill

    def path(self, url: str) -> str:
        """Return `url` as it is, or below the project's folder where it is a relative path."""
        return url if "://" in url else str(ROOT / url)

    @property
    def release_file(self) -> Path:
        """The file that says what runs in this process's environment."""
        return self.place(self.release.environment) / "release.yaml"

    @property
    def values_file(self) -> Path:
        """The file that says how it runs on a cluster."""
        return self.place(self.release.environment) / "values.yaml"

    @property
    def waivers_file(self) -> Path:
        """The file in which checks of the gate are waived for this process's environment."""
        return self.place(self.release.environment) / "waivers.toml"

    def place(self, environment: str) -> Path:
        """Return the folder of what runs in an environment, and how."""
        return Path(self.path(self.release.folder)) / environment

    @property
    def store_url(self) -> str:
        """The root of the store, absolute."""
        return self.path(self.store.url)

    @property
    def events_url(self) -> str:
        """Where this environment's predictions and outcomes are logged."""
        return f"{self.path(self.events.url or f'{self.store_url}/events')}/{self.release.environment}"

    @property
    def spool(self) -> Path:
        """The folder of this node in which the open segments of this environment's event log grow."""
        return Path(self.path(self.events.spool or f"{self.store_url}/spool")) / self.release.environment

    @property
    def secrets(self) -> Path:
        """The folder of this environment's secrets."""
        return Path(self.path(self.serve.secrets or f"{self.store_url}/secrets/{self.release.environment}"))

    @property
    def signing_key(self) -> Path:
        """The private key by which statements are signed: not in the repository, and in no pod's folder of secrets."""
        return Path(self.path(self.signing.key or f"{self.store_url}/secrets/signing-key"))

    @property
    def public_key(self) -> Path:
        """The key by which signed statements are proved, in the repository."""
        return Path(self.path(self.signing.public_key or f"{self.release.folder}/signing.pem"))

    @property
    def labels_url(self) -> str:
        """Where this environment's predictions lie with what came of them."""
        return f"{self.store_url}/labels/{self.release.environment}"

    @property
    def profiles_url(self) -> str:
        """Where this environment's profiles of what was predicted lie."""
        return f"{self.store_url}/profiles/{self.release.environment}"

    @property
    def scores_url(self) -> str:
        """Where this environment's partitions of scores lie, a folder for each run."""
        return f"{self.store_url}/scores/{self.release.environment}"

    @property
    def online_url(self) -> str:
        """Where this environment's online store lies; a Redis is one environment's alone, by its database or host."""
        return self.path(self.online.url or f"{self.store_url}/online/{self.release.environment}")

    @property
    def reports_url(self) -> str:
        """Where this environment's reports and verdicts lie."""
        return f"{self.store_url}/reports/{self.release.environment}"

    @property
    def lake_url(self) -> str:
        """The root of the partitions that training reads, absolute."""
        return self.path(self.data.url)


@cache
def settings() -> Settings:
    """Read project.toml and the environment; raises ContractError that names the key."""
    file = ROOT / "project.toml"
    try:
        tables = tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ContractError("settings", f"project.toml cannot be read: {error}", f"Edit {file.name}") from error
    for table in Settings.model_fields:
        beginning = f"ML_{table}_".upper()
        for name, value in os.environ.items():
            if name.startswith(beginning):  # whatever follows: a key that is misspelt is refused, too
                tables.setdefault(table, {})[name.removeprefix(beginning).lower()] = value
    try:
        return Settings.model_validate(tables)
    except ValidationError as error:
        raise ContractError("settings", first(error), f"Edit {file.name} or unset its variable") from error
