"""What was brought to an environment, when, and how it went: the ledger's book of deployments."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from ml.contract import ledger
from ml.contract.clock import Clock
from ml.contract.release import Release
from ml.contract.verdict import Record
from ml.revision import commit
from ml.settings import settings

Outcome = Literal["good", "breach", "failed"]


class Deployment(Record):
    """One deployment: good, taken back after a breach, or failed before anybody could know."""

    environment: str
    release: Release
    at: datetime
    outcome: Outcome
    revision: str | None = None
    values: str | None = None  # the SHA-256 of the values.yaml that it ran by, where there was one
    known_as: str | None = None  # how the target calls it, so that it can be put back as it was
    said: str = ""

    def same_as(self, told: Release) -> bool:
        """Whether a release, by the values that are here now, is what was deployed."""
        return self.release == told and self.values == values()


def remember(environment: str, told: Release, outcome: Outcome, said: str, known_as: str | None = None) -> None:
    """Remember that this release, by the values and of the commit that are here, was deployed just now."""
    add(
        Deployment(
            environment=environment,
            release=told,
            at=Clock("wall").now(),
            outcome=outcome,
            revision=commit(),
            values=values(),
            known_as=known_as,
            said=said,
        )
    )


def values() -> str | None:
    """Return the SHA-256 of this environment's values.yaml as it is now; None without one."""
    file = settings().values_file
    return sum_of(file.read_bytes()) if file.is_file() else None


def sum_of(content: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def add(deployment: Deployment) -> None:
    """Remember a deployment."""
    name = f"{deployment.at:%Y%m%dT%H%M%S.%f}"  # in order, for names are sorted
    ledger.once(settings().store_url, _book(deployment.environment), name, deployment.model_dump(mode="json"))


def last(environment: str, outcome: Outcome = "good") -> Deployment | None:
    """Return the newest deployment of an environment that went so; None where none did."""
    return next((each for each in newest_first(environment) if each.outcome == outcome), None)


def history(environment: str) -> list[Deployment]:
    """Return all deployments of an environment, the oldest first."""
    return [*newest_first(environment)][::-1]


def newest_first(environment: str) -> Iterator[Deployment]:
    """Yield the deployments of an environment, each read when it is asked for."""
    store, book = settings().store_url, _book(environment)
    for name in reversed(ledger.names(store, book)):
        yield Deployment.model_validate(ledger.read(store, book, name))


def _book(environment: str) -> str:
    return f"deployments/{environment}"
