"""Only the environments whose files a change touches are deployed."""

import json
import subprocess
from pathlib import Path

import pytest
from conftest import ml, one_line

AUTHOR = ("-c", "user.name=Someone", "-c", "user.email=someone@example.org")


@pytest.fixture
def repository(project: Path) -> Path:
    """A project under version control: two environments that are released, one that is not, and somebody's laptop."""
    for name in ("staging", "production", "laptop"):
        put(project, name, "release.yaml", "champion: a")
    put(project, "kind", "values.yaml", "environment: kind")
    git(project, "init", "--quiet")
    commit(project)
    return project


def put(project: Path, environment: str, name: str, content: str) -> None:
    file = project / "environments" / environment / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def git(project: Path, *words: str) -> str:
    ran = subprocess.run(["git", *AUTHOR, *words], cwd=project, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def commit(project: Path) -> str:
    git(project, "add", "environments")
    git(project, "commit", "--quiet", "--message", "Change it")
    return git(project, "rev-parse", "HEAD")


def changed(project: Path, base: str) -> list[str]:
    ran = ml("deploy", "--changed", base, cwd=project, ML_RELEASE_FOLDER="environments")
    assert (ran.returncode, ran.stderr) == (0, "")
    return list(json.loads(ran.stdout))


def test_what_changed_is_named_and_nothing_else(repository: Path) -> None:
    before = git(repository, "rev-parse", "HEAD")
    put(repository, "staging", "release.yaml", "champion: b")
    put(repository, "kind", "values.yaml", "environment: kind\nreplicas: 1")
    between = commit(repository)
    assert changed(repository, before) == ["staging"]
    put(repository, "production", "values.yaml", "environment: production")
    put(repository, "staging", "waivers.toml", "")
    commit(repository)
    assert changed(repository, between) == ["production"]
    assert changed(repository, before) == ["production", "staging"]


def test_where_there_is_no_commit_before_all_that_is_released_is_named(repository: Path) -> None:
    assert changed(repository, "0" * 40) == ["production", "staging"]


def test_without_a_repository_nothing_can_be_told(project: Path) -> None:
    assert "this is no repository" in one_line(ml("deploy", "--changed", "0" * 40, cwd=project))
    assert "no environment was named" in one_line(ml("deploy", cwd=project))
