"""The release file: which bundle an environment serves. Changed by pull request, rolled back by reverting it."""

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml.contract.bundle import Bundle
from ml.errors import ContractError
from ml.settings import settings
from ml.store import files

HEAD = "# What runs here. Changed only by pull request; to roll back, revert it.\n"


class Release(BaseModel):
    """What runs in one environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    champion: str = Field(pattern=r"^[0-9a-f]{64}$", description="digest of the bundle that answers")


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
    except (ValidationError, yaml.YAMLError) as error:
        raise ContractError("release", f"{file} does not name a champion by its digest", "Edit it") from error


def champion() -> str | None:
    """Return the digest that the release file names, whatever a service here was told to serve; None without a file."""
    return _of_file().champion if settings().release_file.exists() else None


def judged_against(bundle: Bundle) -> str:
    """Return the digest of what a bundle has to stand up to: what runs here, else the simplest rung of its ladder."""
    return champion() or bundle.baseline


def write(release: Release) -> None:
    """Write what runs in this process's environment."""
    files.write(str(settings().release_file), (HEAD + yaml.safe_dump(release.model_dump())).encode())
