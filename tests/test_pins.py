"""The nightly look at pinned actions tells a commit that its version names from one that it does not."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, TEMPLATE

USED = re.compile(r"uses: ([^@ ]+)@([0-9a-f]{40}) # (v[\d.]+)")


@pytest.fixture
def copy(tmp_path, run) -> Path:
    """The script, one workflow, and for the action that it uses a repository, which git takes for GitHub's."""
    copy = tmp_path / "template"
    shutil.copytree(ROOT / "scripts", copy / "scripts")
    (copy / TEMPLATE.name / ".github" / "workflows").mkdir(parents=True)
    run("git", "init", "--quiet", "--initial-branch", "main", str(tmp_path / "github" / "ada" / "act"), cwd=tmp_path)
    run("git", "commit", "--quiet", "--allow-empty", "--message", "Begin", cwd=tmp_path / "github" / "ada" / "act")
    return copy


def pins(copy: Path, commit: str, version: str) -> subprocess.CompletedProcess:
    """Look at one pin."""
    (copy / ".github" / "workflows").mkdir(parents=True, exist_ok=True)
    (copy / ".github" / "workflows" / "ci.yml").write_text(f"      - uses: ada/act@{commit} # {version}\n")
    github = (copy.parent / "github").as_uri()
    git = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{github}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
    }
    return subprocess.run(
        [copy / "scripts" / "pins"], env=os.environ | git, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("annotated", [(), ("--annotate", "--message", "A version")], ids=["plain", "annotated"])
def test_a_pin_is_right_where_the_tag_names_its_commit_and_wrong_elsewhere(annotated, copy, run, tmp_path):
    there = tmp_path / "github" / "ada" / "act"
    run("git", "tag", *annotated, "v1.2.3", cwd=there)
    commit = run("git", "rev-parse", "HEAD", cwd=there).strip()
    right = pins(copy, commit, "v1.2.3")
    assert (right.returncode, right.stdout) == (0, "right  ada/act v1.2.3\n"), right.stderr
    for wrong in (pins(copy, "0" * 40, "v1.2.3"), pins(copy, commit, "v1.2.4")):
        assert wrong.returncode == 1
        assert wrong.stdout.startswith("wrong  ada/act v1.2.")


def test_every_pin_of_every_workflow_is_looked_at():
    listed = subprocess.run([ROOT / "scripts" / "pins", "--list"], capture_output=True, text=True, check=True).stdout
    found = {
        match
        for tree in (ROOT, TEMPLATE)
        for file in tree.glob(".github/workflows/*")
        for match in USED.findall(file.read_text())
    }
    assert set(listed.splitlines()) == {" ".join(each) for each in found}
    assert len(found) > 5
