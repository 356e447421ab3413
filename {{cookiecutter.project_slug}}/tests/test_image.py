"""The Dockerfile, the verb that builds it and the list for mirrors; the images themselves are in test_containers."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, configured, ml, one_line

from ml import revision, settings
from ml.delivery import image, mirror
from ml.delivery.image import ROLES

DOCKERFILE = (ROOT / "Dockerfile").read_text()
TOOLS = Path(sys.executable).parent
OURS = "registry.example.org/team"
BAD = {
    "a version that floats": ("FROM ${BASE} AS bare", "FROM python:latest AS bare"),
    "the user root": ("USER 10001:10001", "USER root"),
}


def hadolint(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([TOOLS / "hadolint", folder / "Dockerfile"], capture_output=True, text=True, check=False)


def trivy(folder: Path) -> "subprocess.CompletedProcess[str]":
    quiet = ["--quiet", "--skip-check-update", "--skip-version-check", "--disable-telemetry"]
    command = [TOOLS / "trivy", "config", *quiet, "--cache-dir", folder / "cache", "--exit-code", "1", folder]
    return subprocess.run(command, capture_output=True, text=True, check=False)


LINTERS = [
    hadolint,
    pytest.param(trivy, marks=pytest.mark.skipif(platform.machine() != "x86_64", reason="no wheel of trivy")),
]


@pytest.mark.parametrize("lint", LINTERS)
def test_linters_find_nothing_in_the_dockerfile(lint, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Dockerfile", tmp_path)
    ran = lint(tmp_path)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("lint", LINTERS)
@pytest.mark.parametrize(("line", "instead"), BAD.values(), ids=BAD)
def test_linters_find_what_is_bad(lint, line: str, instead: str, tmp_path: Path) -> None:
    assert line in DOCKERFILE
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.replace(line, instead))
    assert lint(tmp_path).returncode == 1


def test_every_role_is_a_target_and_installs_its_own_lock_alone() -> None:
    stages = dict(re.findall(r"^FROM \S+ AS ([\w-]+)\n((?:(?!FROM ).*\n)*)", DOCKERFILE, re.MULTILINE))
    assert list(stages)[-len(ROLES) :] == sorted(ROLES, key=list(stages).index)
    for role in ROLES:
        libraries = stages[f"{role}-libraries"]
        assert set(re.findall(r"requirements/(\w+)\.txt", libraries)) == {role}
        assert "pip install --require-hashes --no-deps --requirement" in libraries
        assert f"COPY --from={role}-libraries /opt/venv /opt/venv" in stages[role]


def test_the_base_is_named_by_digest_and_nothing_names_a_processor() -> None:
    assert re.search(r"^FROM python:3\.12\.\d+-slim-\w+@sha256:[0-9a-f]{64} AS official$", DOCKERFILE, re.MULTILINE)
    assert not re.search(r"amd64|x86|arm|aarch64|--platform", DOCKERFILE)


def test_an_image_holds_the_very_files_that_name_its_tree() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == {*revision.CODE, "scripts/slim"}
    assert lines[-1] == "**/__pycache__"


def machine_with(folder: Path, **scripts: str) -> Path:
    """Make a folder of commands, to be the only one on PATH."""
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def test_without_an_engine_all_three_are_named(tmp_path: Path) -> None:
    line = one_line(ml("image", "serving", PATH=machine_with(tmp_path)))
    assert line.startswith("error: image: none of docker, podman, buildah answers. Install one of them")


def test_a_client_whose_engine_does_not_answer_is_passed_over(tmp_path: Path) -> None:
    path = machine_with(tmp_path, docker="exit 1", podman='[ "$1" = version ] || { echo "no space" >&2; exit 3; }')
    ran = ml("image", "serving", PATH=path, ML_PROJECT_SLUG="spam")
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == ["no space", "error: image: podman build failed. See what podman says above"]


def test_nothing_is_built_that_cannot_be_pushed() -> None:
    line = one_line(ml("image", "serving", "--push"))
    assert line == "error: image: there is no registry to push to. Set [image] registry in project.toml"


def test_a_workflow_learns_what_was_pushed(tmp_path: Path) -> None:
    digest, name = f"sha256:{'a' * 64}", "ghcr.io/ada/spam-serving"
    told = json.dumps([{"Id": "sha256:b", "Size": 1, "RepoDigests": [f"other@{digest}", f"{name}@{digest}"]}])
    path = machine_with(tmp_path, docker=f"[ \"$1\" != inspect ] || echo '{told}'")
    where = {"ML_PROJECT_SLUG": "spam", "ML_IMAGE_REGISTRY": "ghcr.io/Ada", "GITHUB_OUTPUT": tmp_path / "outputs"}
    assert ml("image", "serving", "--push", PATH=path, **where).returncode == 0
    outputs = dict(line.split("=") for line in (tmp_path / "outputs").read_text().splitlines())
    image = f"{name}@{digest}"
    assert outputs == {"name": name, "digest": digest, "image": image, "serving": image}


def test_a_role_has_to_be_named() -> None:
    assert one_line(ml("image")).endswith("Say `ml image serving`, stream or training")
    assert ml("image", "gpu").returncode == 2


@pytest.fixture
def repository(project: Path, monkeypatch: pytest.MonkeyPatch):
    """The copy of the project as a repository with one commit; returns what runs git in it."""
    for module in (settings, revision, image, mirror):
        monkeypatch.setattr(module, "ROOT", project)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)

    def git(*words: str) -> str:
        person = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        return subprocess.run(["git", *person, *words], cwd=project, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "First")
    return git


def test_a_tag_is_the_commit_and_says_that_something_was_changed(repository, project: Path) -> None:
    head = repository("rev-parse", "HEAD").strip()
    assert image.tag_now() == head[:12]
    (project / "ml/errors.py").write_text("changed")
    assert image.tag_now() == f"{head[:12]}-changes"


def test_the_source_on_the_label_holds_no_token(repository) -> None:
    repository("remote", "add", "origin", "https://ada:s3cret@example.org/team/spam.git")
    assert image._source() == "https://example.org/team/spam.git"
    repository("remote", "set-url", "origin", "git@example.org:team/spam.git")
    assert image._source() == "git@example.org:team/spam.git"


def test_the_list_for_mirrors_names_what_charts_and_environments_run_and_our_own(repository, project: Path) -> None:
    digest = f"sha256:{'0123456789abcdef' * 4}"
    values = {
        "charts/serving/values.yaml": "images: {serving: '', training: ''}\nreplicas: 2\n",
        "charts/platform/values.yaml": "redis: {image: 'redis:8.2@sha256:12'}\n"
        "stores: [{image: 'quay.io/store:4.48'}]\n",
        "environments/eu/values.yaml": f"images: {{serving: '{OURS}/spam-serving@{digest}'}}\n",
        "environments/eu/release.yaml": f"champion: {'a' * 64}\nimages: {{training: {OURS}/spam-training@{digest}}}\n",
    }
    for name, text in values.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    shutil.copy(ROOT / "Dockerfile", project)
    head = repository("rev-parse", "HEAD").strip()[:12]
    ours = {"ML_PROJECT_SLUG": "spam", "ML_IMAGE_REGISTRY": OURS}
    with configured(**ours, ML_RELEASE_FOLDER=project / "environments"):
        assert mirror.images() == [
            re.findall("^FROM (.*) AS official$", DOCKERFILE, re.MULTILINE)[0],
            "quay.io/store:4.48",
            "redis:8.2@sha256:12",
            f"{OURS}/spam-serving@{digest}",
            f"{OURS}/spam-stream:{head}",
            f"{OURS}/spam-training@{digest}",
        ]
    with configured(**ours, ML_RELEASE_FOLDER=project, ML_IMAGE_BASE=f"{OURS}/python:3.12"):
        assert f"{OURS}/python:3.12" in mirror.images()
