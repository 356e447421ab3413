"""A cluster by minikube, whose registry is one of its addons.

https://minikube.sigs.k8s.io/docs/handbook/registry/
"""

import json
from typing import NamedTuple

from ml.cluster.command import Command, ask
from ml.cluster.profile import Profile


class Found(NamedTuple):
    """What is there already."""

    cluster: bool  # and running
    registry: bool


class Minikube(NamedTuple):
    """A cluster of a name, run by docker or podman."""

    name: str
    engine: str

    @property
    def context(self) -> str:
        """How kubectl and helm call it."""
        return self.name

    @property
    def images(self) -> str:
        """What the names of images begin with for the node, where the addon listens; who pushes needs a way to it."""
        return "localhost:5000"

    def found(self) -> Found:
        """Look at what is there."""
        state = json.loads(ask(self._minikube("status", "--output", "json")) or "{}")
        if state.get("Host") != "Running" or state.get("APIServer") != "Running":
            return Found(False, False)
        addons = json.loads(ask(self._minikube("addons", "list", "--output", "json")) or "{}")
        return Found(True, addons.get("registry", {}).get("Status") == "enabled")

    def up(self, profile: Profile, kubernetes: str | None) -> list[Command]:
        """Look at what is there, and return the commands that make the rest."""
        return self.made_of(self.found(), profile, kubernetes)

    def made_of(self, found: Found, profile: Profile, kubernetes: str | None) -> list[Command]:
        """Return the commands that make what is not there; `kubernetes` is a version, minikube's own by default."""
        made: list[Command] = []
        if not found.cluster:
            size = ("--cpus", str(profile.cpus), "--memory", f"{profile.memory_gb * 1024}mb")
            version = ("--kubernetes-version", kubernetes) if kubernetes else ()
            # The default network enforces no NetworkPolicy.
            made += [
                self._minikube("start", "--driver", self.engine, "--cni", "calico", *size, *version, "--wait", "all")
            ]
        if not found.registry:
            made += [self._minikube("addons", "enable", "registry")]
        return made

    def down(self) -> list[Command]:
        """Return the command that ends the cluster, stopped or not, and its registry with it."""
        return [self._minikube("delete")]

    def _minikube(self, *words: str) -> Command:
        return Command(("minikube", "--profile", self.name, *words))
