"""The project's workflows, run for real on this machine by act: against a GitHub of our own, and nobody else's.

Every action that needs GitHub's network has a stand-in in `actions/`. act knows no permissions, no concurrency and no
approvals: these are checked as they are written, and proved by GitHub alone.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from conftest import QUIET, ROOT
from github_api import TOKEN, Hub, git

ACTIONS = Path(__file__).with_name("actions")
USED = re.compile(r"uses: (([\w.-]+/([\w.-]+))@[0-9a-f]{40})")
LOCKS = ("training", "serving")  # what scripts/ml wants installed


class Runs(NamedTuple):
    """Where workflows run: the GitHub whose main branch they are of, and a folder for all that they leave."""

    hub: Hub
    home: Path

    @property
    def artifacts(self) -> Path:
        """The folder in which each artifact is a folder."""
        return self.home / "artifacts"

    def run(
        self,
        workflow: str,
        event: str,
        job: str | None = None,
        *,
        payload: Mapping[str, Any] | None = None,
        inputs: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        **environment: object,
    ) -> subprocess.CompletedProcess[str]:
        """Run a workflow of the main branch as it is now, or one job and what it needs; return what act says.

        `variables` and `secrets` are what is configured on GitHub, `environment` what every step finds, as ML_….
        """
        checkout = self.home / "main"
        shutil.rmtree(checkout, ignore_errors=True)
        git(self.home, "clone", "--quiet", str(self.hub.folder), str(checkout))
        join_outputs(checkout / ".github" / "workflows" / workflow)
        told = self.home / "event.json"
        told.write_text(json.dumps({**(payload or {}), **({"inputs": inputs} if inputs else {})}))
        seen = {"ARTIFACTS": self.artifacts, "ML_ENVIRONMENT": self.home / "environment", **QUIET, **environment}
        seen |= {name: value for name, value in self.hub.variables().items() if name != "GITHUB_TOKEN"}
        words = [
            "act", event, "--workflows", f".github/workflows/{workflow}", *(("--job", job) if job else ()),
            "--platform", "ubuntu-latest=-self-hosted", "--action-offline-mode", "--pull=false", "--no-skip-checkout",
            "--no-cache-server", "--artifact-server-addr", "127.0.0.1", "--action-cache-path", str(self.home / "act"),
            "--eventpath", str(told), "--secret", f"GITHUB_TOKEN={TOKEN}",
            *given("--local-repository", stand_ins(checkout)), *given("--env", seen),
            *given("--var", variables or {}), *given("--secret", secrets or {}), *given("--input", inputs or {}),
        ]  # fmt: skip
        program = shutil.which("act", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        assert program, "act is not installed: requirements/dev.txt has it"
        own = {"HOME": str(self.home), "XDG_CACHE_HOME": str(self.home), "PATH": os.environ["PATH"]}
        ran = subprocess.run(
            [program, *words[1:]], cwd=checkout, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for there in set(re.findall(r"PYTHONPATH=(/\S+)", ran.stdout)):
            if not Path(there).exists():  # act takes away what it checked out, and services that it started run on
                git(self.home, "clone", "--quiet", str(checkout), there)
        return ran


def join_outputs(workflow: Path) -> None:
    """Let each value of a matrix that has outputs be a job, and one more join them, as GitHub does.

    act itself forgets the outputs of all jobs of a matrix but of the one that ends first.
    """
    told = yaml.safe_load(workflow.read_text())
    told["on"] = told.pop(True)  # YAML takes it for a truth
    for name, job in list(told["jobs"].items()):
        if "outputs" in job and "strategy" in job:
            ((key, values),) = job["strategy"]["matrix"].items()
            parts = {f"{name}-{value}": job | {"strategy": {"matrix": {key: [value]}}} for value in values}
            outputs = {each: " || ".join(f"needs.{part}.outputs.{each}" for part in parts) for each in job["outputs"]}
            joined = {"needs": list(parts), "if": job["if"], "runs-on": job["runs-on"], "steps": [{"run": "true"}]}
            joined["outputs"] = {each: f"${{{{ {found} }}}}" for each, found in outputs.items()}
            told["jobs"] |= parts | {name: joined}
            workflow.write_text(yaml.safe_dump(told, sort_keys=False))


def given(option: str, values: Mapping[str, object]) -> list[str]:
    """Return an option for each value, as `--env NAME=VALUE`."""
    return [word for name, value in values.items() for word in (option, f"{name}={value}")]


def stand_ins(checkout: Path) -> dict[str, Path]:
    """Return what stands in for each action that the workflows name."""
    text = "".join(file.read_text() for file in checkout.glob(".github/workflows/*.yml"))
    found = {action: ACTIONS / name for action, _, name in USED.findall(text)}
    return {action: folder if folder.exists() else ACTIONS / "absent" for action, folder in found.items()}


def prepared(folder: Path, program: str = f'exec {sys.executable} "$@"') -> None:
    """Make what scripts/environment takes for an environment that has all the locks: it runs the tests' own Python."""
    for name in ("bin", "locks"):
        (folder / name).mkdir(parents=True)
    (folder / "made-by-scripts").write_text(str(folder))
    (folder / "bin" / "python").write_text(f"#!/bin/sh\n{program}\n")
    (folder / "bin" / "python").chmod(0o755)
    for lock in LOCKS:
        content = (ROOT / "requirements" / f"{lock}.txt").read_bytes()
        told = subprocess.run(["cksum"], input=content, capture_output=True, check=True).stdout
        (folder / "locks" / f"{lock}.txt").write_bytes(told)


def publish(hub: Hub, seed: Path, **files: str) -> None:
    """Push this project, as it lies here, to a GitHub as its first commit."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, names.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (seed / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, seed / name)
    git(seed, "init", "--quiet", "--initial-branch", "main")
    git(seed, "add", "--all")
    git(seed, "commit", "--quiet", "--message", "Begin")
    git(seed, "push", "--quiet", str(hub.folder), "main")
