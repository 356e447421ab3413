"""What a place can do with a release: the port behind which a cluster and this machine look alike."""

from contextlib import AbstractContextManager
from typing import Protocol

from ml.contract.release import Release
from ml.delivery.deployments import Deployment


class Target(Protocol):
    """One environment at one place."""

    def alone(self) -> AbstractContextManager[None]:
        """Hold the place for a block; raises ContractError where another deployment does."""

    def put(self, told: Release) -> str | None:
        """Let a release answer everybody; returns once it does, with the name by which it can be put back, if any.

        Raises ContractError where it does not come to that; what answered before still does then.
        """

    def put_back(self, good: Deployment) -> None:
        """Let what was deployed before answer everybody again, with all by which it ran, as far as the place knows it.

        Raises ContractError where it does not come to that.
        """

    def smoke(self, told: Release) -> None:
        """Ask a golden record by the way that requests take; raises ContractError where the answer is wrong."""

    def metrics(self) -> dict[str, str | None]:
        """Return what each replica that should answer tells Prometheus; None of one that does not."""

    def down(self) -> None:
        """End all that was put there."""
