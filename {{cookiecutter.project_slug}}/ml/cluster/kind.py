"""A cluster by kind: one container as its node, and a registry in another, as kind documents it.

https://kind.sigs.k8s.io/docs/user/local-registry/
"""

from typing import NamedTuple

from ml.cluster.command import Command, ask
from ml.cluster.profile import Profile

REGISTRY = "registry:3@sha256:1be55279f18a2fe1a74edf2664cac61c1bea305b7b4642dab412e7affdcb3e33"


class Found(NamedTuple):
    """What is there already."""

    cluster: bool
    registry: str | None  # whether its container is running, "true" or "false"; None where there is none
    joined: bool  # whether the registry is in the cluster's network
    hosts: bool  # whether the node knows where the registry is


class Kind(NamedTuple):
    """A cluster of a name, run by docker or podman, with its registry on a port of 127.0.0.1."""

    name: str
    engine: str
    port: int

    @property
    def context(self) -> str:
        """How kubectl and helm call it."""
        return f"kind-{self.name}"

    @property
    def images(self) -> str:
        """What the names of images begin with, for who pushes and for the nodes alike."""
        return f"localhost:{self.port}"

    def found(self) -> Found:
        """Look at what is there."""
        listed = ask(self._kind("get", "clusters")) or ""
        if self.name not in listed.splitlines():
            return Found(False, self._state(), joined=False, hosts=False)
        network = ask(self._engine("inspect", "--format", "{{json .NetworkSettings.Networks.kind}}", self._registry))
        hosts = ask(self._engine("exec", self._node, "cat", f"{self._hosts}/hosts.toml"))
        return Found(True, self._state(), network not in (None, "null", "<no value>"), hosts == self._told.strip())

    def up(self, profile: Profile, kubernetes: str | None) -> list[Command]:
        """Look at what is there, and return the commands that make the rest."""
        return self.made_of(self.found(), kubernetes)

    def made_of(self, found: Found, kubernetes: str | None) -> list[Command]:
        """Return the commands that make what is not there; `kubernetes` is a node image, kind's own by default."""
        made: list[Command] = []
        if not found.cluster:
            image = ("--image", kubernetes) if kubernetes else ()
            made += [self._kind("create", "cluster", "--name", self.name, *image, "--wait", "300s")]
        if found.registry is None:
            where = ("--network", "bridge", "--publish", f"127.0.0.1:{self.port}:5000", "--name", self._registry)
            made += [self._engine("run", "--detach", "--restart", "always", *where, REGISTRY)]
        elif found.registry == "false":
            made += [self._engine("start", self._registry)]
        if not found.joined:
            made += [self._engine("network", "connect", "kind", self._registry)]
        if not found.hosts:
            made += [self._engine("exec", self._node, "mkdir", "-p", self._hosts)]
            copied = self._engine("exec", "-i", self._node, "cp", "/dev/stdin", f"{self._hosts}/hosts.toml")
            made += [copied._replace(reads=self._told)]
        return made

    def down(self) -> list[Command]:
        """Look at what is there, and return the commands that end it."""
        found = self.found()
        ended = [self._kind("delete", "cluster", "--name", self.name)] if found.cluster else []
        return ended + [self._engine("rm", "--force", "--volumes", self._registry)] * (found.registry is not None)

    @property
    def _registry(self) -> str:
        return f"{self.name}-registry"

    @property
    def _node(self) -> str:
        return f"{self.name}-control-plane"

    @property
    def _hosts(self) -> str:
        return f"/etc/containerd/certs.d/{self.images}"

    @property
    def _told(self) -> str:
        return f'[host."http://{self._registry}:5000"]\n'

    def _state(self) -> str | None:
        return ask(self._engine("inspect", "--format", "{{.State.Running}}", self._registry))

    def _kind(self, *words: str) -> Command:
        variables = {"KIND_EXPERIMENTAL_PROVIDER": "podman"} if self.engine == "podman" else {}
        return Command(("kind", *words), variables=variables)

    def _engine(self, *words: str) -> Command:
        return Command((self.engine, *words))
