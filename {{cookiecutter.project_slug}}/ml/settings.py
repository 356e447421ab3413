"""project.toml, overridden by ML_<TABLE>_<KEY>: read once, here and nowhere else."""

import json
import os
import tomllib
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ml.errors import ContractError

ROOT = Path(__file__).resolve().parents[1]


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
    rungs: list[str] = Field(min_length=1)

    @field_validator("rungs", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value  # a variable holds JSON


class Release(Table):
    """Which environment this process belongs to; `bundle` overrides what its release file names."""

    folder: str = Field(min_length=1)
    environment: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    bundle: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class Online(Table):
    """Where the online feature store lies: a Redis that several nodes reach, or where it is empty a directory."""

    url: str = Field(pattern=r"^$|^(/|\.{1,2}/|[a-z]+://)")


class Stream(Table):
    """Where events come from: Kafka's bootstrap servers, or, where they are empty, files in a folder."""

    brokers: str
    topic_prefix: str = Field(min_length=1)
    inbox: str = Field(min_length=1)
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


class Monitor(Table):
    """How the monitor looks: matured days in one verdict."""

    window_days: int = Field(ge=2)


class Demo(Table):
    """What the demo replays: first and last day of each stretch of later records."""

    replays: list[tuple[date, date]] = Field(min_length=1)

    @field_validator("replays", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value  # a variable holds JSON


class Settings(Table):
    """The whole of project.toml."""

    project: Project
    store: Store
    data: Data
    train: Train
    release: Release
    online: Online
    stream: Stream
    score: Score
    serve: Serve
    events: Events
    monitor: Monitor
    demo: Demo

    def path(self, url: str) -> str:
        """Return `url` as it is, or below the project's folder where it is a relative path."""
        return url if "://" in url else str(ROOT / url)

    @property
    def release_file(self) -> Path:
        """The file that says what runs in this process's environment."""
        return self._environment / "release.yaml"

    @property
    def waivers_file(self) -> Path:
        """The file in which checks of the gate are waived for this process's environment."""
        return self._environment / "waivers.toml"

    @property
    def _environment(self) -> Path:
        return Path(self.path(self.release.folder)) / self.release.environment

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
    def labels_url(self) -> str:
        """Where this environment's predictions lie with what came of them."""
        return f"{self.store_url}/labels/{self.release.environment}"

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
        for key in Settings.model_fields[table].annotation.model_fields:  # type: ignore[union-attr]
            value = os.environ.get(f"ML_{table}_{key}".upper())
            if value is not None:
                tables.setdefault(table, {})[key] = value
    try:
        return Settings.model_validate(tables)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ContractError("settings", f"{key}: {first['msg']}", f"Edit {file.name} or unset its variable") from error
