"""The release file: which bundle an environment serves, and which experiment it runs. Rolled back by reverting it."""

import hashlib
import json
import math
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ml.contract.bundle import Bundle
from ml.errors import ContractError
from ml.settings import settings
from ml.store import files

HEAD = "# What runs here. Changed only by pull request; to roll back, revert it.\n"
DIGEST = r"[0-9a-f]{64}"
CHAMPION = "champion"  # how the log calls the arm of all entities that no other arm has


class Arm(BaseModel):
    """A challenger, and the share of entities that it gets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str = Field(pattern=rf"^({DIGEST}|https?://[^@]+)$", description="a digest, or a service's URL")
    percent: float = Field(ge=0, le=100)


Mode = Literal["shadow", "canary", "ab", "holdout"]


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

    @property
    def plan(self) -> str:
        """Names the whole of it, 12 hex digits: events and metrics say by which plan they came about."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def digests(self) -> list[str]:
        """The bundles that a service has to load."""
        arms = self.experiment.arms.values() if self.experiment else ()
        return list(dict.fromkeys([self.champion, *(arm.bundle for arm in arms if "://" not in arm.bundle)]))


def read() -> Release:
    """Return what runs in this process's environment, or the one bundle that ML_RELEASE_BUNDLE names."""
    if named := settings().release.bundle:
        return Release(champion=named)
    return _of_file()


def _of_file() -> Release:
    file = settings().release_file
    try:
        return Release.model_validate(yaml.safe_load(file.read_text()))
    except FileNotFoundError:
        raise ContractError("release", f"{file} is not there: nothing is released", "Run `ml release`") from None
    except yaml.YAMLError as error:
        raise ContractError("release", f"{file} is no YAML: {error}", "Edit it") from error
    except ValidationError as error:
        first = error.errors()[0]
        broken = f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
        raise ContractError("release", broken, "Edit it, or run `ml release`") from error


def champion() -> str | None:
    """Return the digest that the release file names, whatever a service here was told to serve; None without a file."""
    return _of_file().champion if settings().release_file.exists() else None


def judged_against(bundle: Bundle) -> str:
    """Return the digest of what a bundle has to stand up to: what runs here, else the simplest rung of its ladder."""
    return champion() or bundle.baseline


def write(release: Release) -> None:
    """Write what runs in this process's environment."""
    told = yaml.safe_dump(release.model_dump(exclude_none=True), sort_keys=False)
    files.write(str(settings().release_file), (HEAD + told).encode())
