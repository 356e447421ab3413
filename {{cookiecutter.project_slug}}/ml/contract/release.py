"""The release file: what an environment serves, by which images, and which experiment it runs.

It does not name its environment, so that what was tried in one is the same bytes in the next; rolled back by reverting.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ml.contract.bundle import Bundle
from ml.errors import ContractError, first
from ml.settings import settings
from ml.store import files

NAME = "release.yaml"
HEAD = "# What runs here. Changed only by pull request; to roll back, revert it.\n"
DIGEST = r"[0-9a-f]{64}"
IMAGE = rf"^([a-zA-Z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*@sha256:{DIGEST}$"  # a tag could be moved
CHAMPION = "champion"  # how the log calls the arm of all entities that no other arm has


class Arm(BaseModel):
    """A challenger, and the share of entities that it gets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str = Field(pattern=rf"^({DIGEST}|https?://[^@]+)$", description="a digest, or a service's URL")
    percent: float = Field(ge=0, le=100)


Mode = Literal["shadow", "canary", "ab", "holdout"]
Role = Literal["serving", "training", "stream"]
Image = Annotated[str, Field(pattern=IMAGE, description="repository@sha256:<64 hex digits>")]


class Experiment(BaseModel):
    """Which entities a challenger gets, and whether it answers (canary, ab, holdout) or only shows what it would say.

    Its name and its arms' names decide, with the salt, who is in which arm: a new name shuffles all entities anew, and
    so does another number of arms.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    mode: Mode
    arms: dict[str, Arm] = Field(min_length=1)

    @field_validator("arms")
    @classmethod
    def _in_order(cls, arms: dict[str, Arm]) -> dict[str, Arm]:
        return dict(sorted(arms.items()))  # their order decides who is where, and a file may write them in any

    @model_validator(mode="after")
    def _possible(self) -> "Experiment":
        if CHAMPION in self.arms:
            raise ValueError(f"{CHAMPION} is what the other arms leave")
        if self.mode != "ab" and len(self.arms) > 1:
            raise ValueError(f"a {self.mode} has one arm")
        if most := [name for name, arm in self.arms.items() if arm.percent > self.room]:
            raise ValueError(f"{most[0]} can have {self.room:g} % at most, as one of {len(self.arms)} arms")
        return self

    @property
    def room(self) -> float:
        """The most percent that an arm can grow to: each has a stretch of its own, so that none takes from another."""
        return math.floor(10000 / len(self.arms)) / 100


class Release(BaseModel):
    """What runs in one environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    champion: str = Field(pattern=rf"^{DIGEST}$", description="digest of the bundle that answers")
    experiment: Experiment | None = None
    images: dict[Role, Image] = Field(default={}, description="what runs on a cluster, by role; none: as is there now")

    @property
    def plan(self) -> str:
        """Names who answers whom, 12 hex digits: events and metrics say by which plan they came about.

        Images are no part of it: the same plan on another image is compared with itself.
        """
        told = self.model_dump(exclude={"images"})
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def digests(self) -> list[str]:
        """The bundles that a service has to load."""
        arms = self.experiment.arms.values() if self.experiment else ()
        return list(dict.fromkeys([self.champion, *(arm.bundle for arm in arms if "://" not in arm.bundle)]))


def read() -> Release:
    """Return what runs in this process's environment, or the one bundle that ML_RELEASE_BUNDLE names."""
    if named := settings().release.bundle:
        return Release(champion=named)
    return _read(settings().release_file)


def file(environment: str) -> Path:
    """Return the file that says what runs in an environment."""
    return settings().place(environment) / NAME


def of(environment: str) -> Release | None:
    """Return what an environment's release file says, whatever this process was told to serve; None without a file."""
    return _read(file(environment)) if file(environment).exists() else None


def parse(content: bytes, name: str | Path) -> Release:
    """Return what the content of a release file says; raises ContractError, which calls it by this name."""
    try:
        return Release.model_validate(yaml.safe_load(content))
    except yaml.YAMLError as error:
        raise ContractError("release", f"{name} is no YAML: {error}", "Edit it") from error
    except ValidationError as error:
        raise ContractError("release", f"{name}: {first(error)}", "Edit it, or run `ml release`") from error


def _read(file: Path) -> Release:
    try:
        return parse(_proved(file), file)
    except FileNotFoundError:
        raise ContractError("release", f"{file} is not there: nothing is released", "Run `ml release`") from None


def _proved(file: Path) -> bytes:
    """Return what the file holds; raises ContractError where a sum beside it says otherwise.

    Kubernetes replaces a folder of files by changing one link: both are read behind it, so that they belong together.
    """
    real = file.resolve(strict=True)
    content, sum_ = real.read_bytes(), real.with_name(f"{file.name}.sha256")
    if sum_.exists() and hashlib.sha256(content).hexdigest() not in sum_.read_text().split():
        broken = f"{file} is not what {sum_.name} names: one of them was changed alone"
        raise ContractError("release", broken, "Install the release anew, see docs/kubernetes.md")
    return content


def champion() -> str | None:
    """Return the digest that the release file names, whatever a service here was told to serve; None without a file."""
    told = of(settings().release.environment)
    return told.champion if told else None


def judged_against(bundle: Bundle) -> str:
    """Return the digest of what a bundle has to stand up to: what runs here, else the simplest rung of its ladder."""
    return champion() or bundle.baseline


def write(release: Release, environment: str | None = None) -> None:
    """Write what runs in an environment, by default in this process's."""
    files.write(str(file(environment or settings().release.environment)), text(release).encode())


def text(release: Release) -> str:
    """Return the whole of a release file."""
    return HEAD + yaml.safe_dump(release.model_dump(exclude_defaults=True), sort_keys=False, width=200)
