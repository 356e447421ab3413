"""The scripts that log in and that tell of a failure do so, against a registry and a GitHub of our own."""

import importlib.util
import json
import os
import subprocess
from types import ModuleType

import pytest
from conftest import ROOT, TEMPLATE
from oci_registry import TOKEN, USER, registry


def of_the_project(name: str) -> ModuleType:
    """Return a module of the project's tests, which are no package beside these."""
    spec = importlib.util.spec_from_file_location(name, TEMPLATE / "tests" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_login_opens_the_registry_by_a_token_that_is_shown_to_nobody(tmp_path):
    with registry(tmp_path) as there:
        seen = {**there.variables, "ML_IMAGE_REGISTRY": f"{there.host}/team", "IMAGE_USER": USER}

        def login(token: str) -> subprocess.CompletedProcess[str]:
            command = [TEMPLATE / "scripts" / "login"]
            return subprocess.run(command, env={**seen, "IMAGE_TOKEN": token}, capture_output=True, text=True)

        assert login("another").returncode != 0
        assert not (tmp_path / ".docker" / "config.json").exists()
        ran = login(TOKEN)
    assert ran.returncode == 0, ran.stderr
    assert TOKEN not in ran.stdout + ran.stderr
    assert list(json.loads((tmp_path / ".docker" / "config.json").read_text())["auths"]) == [there.host]


def test_a_night_that_failed_opens_one_issue_and_the_next_adds_to_it(tmp_path):
    github = of_the_project("github_api").github
    with github(tmp_path / "hub.git") as hub:

        def tell(run: int, **variables: str) -> subprocess.CompletedProcess[str]:
            seen = {**hub.variables(), "PATH": os.environ["PATH"], "GITHUB_RUN_ID": str(run), **variables}
            return subprocess.run([ROOT / "scripts" / "tell"], env=seen, capture_output=True, text=True)

        for number in range(1, 120):  # more than a page
            hub.issue({"title": f"Another, {number}", "body": ""})
        hub.issue({"title": "The nightly run failed", "pull_request": {}})
        for run in (1, 2, 3):
            ran = tell(run)
            assert ran.returncode == 0, ran.stderr
        opened = [each for each in hub.issues.values() if each["title"] == "The nightly run failed"][1:]
        assert [each["body"] for each in opened] == [f"{hub.url}/ada/churn/actions/runs/1 says why."]
        said = [each["body"] for each in hub.comments[opened[0]["number"]]]
        assert said == [f"{hub.url}/ada/churn/actions/runs/{run} says why." for run in (2, 3)]
        assert list(hub.comments) == [opened[0]["number"]]
        assert tell(4, GITHUB_TOKEN="another").returncode != 0
