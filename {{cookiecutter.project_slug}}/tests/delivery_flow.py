"""What people and GitHub do on the way of a model from a commit to production, each as one sentence of a test.

A person commits, merges and starts a workflow; GitHub runs what a push or a merge starts. Services are real processes
of this machine, the store is a folder, and a key signs.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

import yaml
from conftest import configured
from github_api import Hub, Told, git
from workflow_runs import Runs, prepared, publish

from ml.attestation.signing import new_key

Ports = tuple[int, int]  # of predictions and of outcomes


class Flow(NamedTuple):
    """One project on its GitHub: `settings` are what its steps find as ML_…, `key` is the file that signs.

    Each environment has ports of its own on this machine.
    """

    runs: Runs
    key: Path
    settings: Mapping[str, object]
    ports: Mapping[str, Ports]

    @property
    def store(self) -> Path:
        """Where bundles, verdicts and the ledger lie, and what the processes target keeps."""
        return self.runs.home / "store"

    def url(self, environment: str) -> str:
        """Where an environment answers."""
        return f"http://127.0.0.1:{self.ports[environment][0]}"

    def outcomes(self, environment: str) -> str:
        """Where it takes outcomes."""
        return f"http://127.0.0.1:{self.ports[environment][1]}"

    @contextmanager
    def at(self, environment: str) -> Iterator[None]:
        """Let this process be a person who has checked main out and runs verbs for an environment."""
        ours = {"ML_RELEASE_FOLDER": self.checkout() / "environments", "ML_RELEASE_ENVIRONMENT": environment}
        ours |= {"ML_STORE_URL": self.store, "ML_SIGNING_KEY": self.key}
        with configured(**{**self.settings, **self._listening(environment), **ours}):
            yield

    def checkout(self) -> Path:
        """Return a person's clone, at main."""
        clone = self.runs.home / "person"
        if not clone.exists():
            git(self.runs.home, "clone", "--quiet", str(self.runs.hub.folder), str(clone))
        git(clone, "pull", "--quiet", "--ff-only")
        return clone

    def commit(self, message: str, files: Mapping[str, str]) -> str:
        """Let a person push a commit to main; returns the commit before."""
        before, clone = self.runs.hub.main, self.checkout()
        for name, text in files.items():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_text(text)
        git(clone, "add", "--all")
        git(clone, "commit", "--quiet", "--message", message)
        git(clone, "push", "--quiet", "origin", "main")
        return before

    def train(self, **settings: object) -> CompletedProcess[str]:
        """Let a person start train.yml."""
        return self._run("train.yml", "workflow_dispatch", **settings)

    def build(self, registry: str, user: str, token: str, **settings: object) -> CompletedProcess[str]:
        """Let GitHub start image.yml, since main was pushed to, with a registry and who may push there."""
        configured = {"IMAGE_REGISTRY": registry, "IMAGE_USER": user}
        return self._run("image.yml", "push", variables=configured, secrets={"IMAGE_TOKEN": token}, **settings)

    def promote(self, environment: str) -> CompletedProcess[str]:
        """Let a person start promote.yml for one stage."""
        return self._run("promote.yml", "workflow_dispatch", {"environment": environment})

    def promote_daily(self) -> CompletedProcess[str]:
        """Let GitHub start promote.yml, as it does every day, for all stages in turn."""
        return self._run("promote.yml", "schedule")

    def proposed(self, environment: str) -> Told:
        """Return the one open pull request that promotes an environment."""
        (pull,) = self.runs.hub.find("open", f"promote/{environment}")
        return pull

    def merge(self, pull: Told) -> str:
        """Let a person merge a pull request; returns the commit before."""
        before = self.runs.hub.main
        assert self.runs.hub.merge(pull["number"])["merged"], pull
        return before

    def deploy(self, before: str, environment: str) -> CompletedProcess[str]:
        """Let GitHub start deploy.yml, since main was pushed to; what changes is one environment."""
        payload = {"before": before, "ref": "refs/heads/main"}
        return self._run("deploy.yml", "push", payload=payload, **self._listening(environment))

    def release(self, environment: str, branch: str = "main") -> Told:
        """Return what a branch says that an environment runs."""
        file = f"{branch}:environments/{environment}/release.yaml"
        return dict(yaml.safe_load(git(self.runs.hub.folder, "show", file)))

    def _listening(self, environment: str) -> dict[str, object]:
        one, other = self.ports[environment]
        return {"ML_SERVE_PORT": one, "ML_SERVE_OUTCOMES_PORT": other}

    def _run(
        self,
        workflow: str,
        event: str,
        inputs: Mapping[str, str] | None = None,
        payload: Mapping[str, object] | None = None,
        variables: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        **settings: object,
    ) -> CompletedProcess[str]:
        return self.runs.run(
            workflow,
            event,
            inputs=inputs,
            payload=payload,
            variables={"STORE_URL": str(self.store), **(variables or {})},
            secrets={"SIGNING_KEY": self.key.read_text(), **(secrets or {})},
            **{**self.settings, **settings},
        )


def begun(hub: Hub, home: Path, settings: Mapping[str, object], ports: Mapping[str, Ports]) -> Flow:
    """Push this project, as it lies here, to a GitHub, with a key that it trusts; nothing is released yet."""
    flow = Flow(Runs(hub, home), home / "key", settings, ports)
    prepared(home / "environment")
    publish(hub, home / "seed")
    new_key(flow.key, home / "signing.pem")
    flow.commit("Trust this key", {"environments/signing.pem": (home / "signing.pem").read_text()})
    return flow
