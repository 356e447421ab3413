"""The workflows of the template and of the generated project are hardened, and hold no logic of their own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TEMPLATE = Path(__file__).parents[1]
TREES = [TEMPLATE, TEMPLATE / "{{cookiecutter.project_slug}}"]
WORKFLOWS = [path for tree in TREES for path in tree.glob(".github/workflows/*.y*ml")]
DEPENDABOT = [tree / ".github/dependabot.yml" for tree in TREES]

names = [str(path.relative_to(TEMPLATE)) for path in WORKFLOWS]
every_workflow = pytest.mark.parametrize("workflow", WORKFLOWS, ids=names)


def run(tool: str, *arguments: str | Path) -> None:
    """Demand that a tool of this environment finds nothing in the files that it is given by name."""
    program = shutil.which(tool, path=Path(sys.executable).parent)
    assert program, f"{tool} is not installed beside {sys.executable}: install the `dev` extra"
    result = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, cwd=TEMPLATE)
    assert result.returncode == 0, result.stdout + result.stderr


def steps(workflow: Path) -> list[dict]:
    return [step for job in yaml.safe_load(workflow.read_text())["jobs"].values() for step in job["steps"]]


def test_both_trees_have_workflows_and_dependabot():
    assert {path.parents[2] for path in WORKFLOWS} == set(TREES)
    assert all(path.is_file() for path in DEPENDABOT)


def test_actionlint_finds_nothing():
    run("actionlint", "-no-color", "-shellcheck=", "-pyflakes=", *WORKFLOWS)


def test_zizmor_finds_nothing_and_is_told_to_overlook_nothing():
    strict = ("--persona=pedantic", "--strict-collection", "--no-config", "--no-ignores")
    run("zizmor", "--offline", "--no-progress", *strict, *WORKFLOWS, *DEPENDABOT)


@every_workflow
def test_every_action_is_pinned_by_commit_with_its_version(workflow):
    used = re.findall(r"uses:(.*)", workflow.read_text())
    assert len(used) == sum("uses" in step for step in steps(workflow)) > 0
    for reference in used:
        assert re.fullmatch(r" [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", reference), reference


@every_workflow
def test_a_job_may_read_the_repository_and_nothing_else(workflow):
    content = yaml.safe_load(workflow.read_text())
    assert content["permissions"] == {}
    for name, job in content["jobs"].items():
        assert job["permissions"] == {"contents": "read"}, name
        assert job["timeout-minutes"] <= 90, name
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@every_workflow
def test_every_run_is_one_program_of_the_repository(workflow):
    commands = [step["run"] for step in steps(workflow) if "run" in step]
    commands = [command for command in commands if not command.startswith("apt-get ")]  # what checkout needs
    assert commands
    for command in commands:
        assert re.fullmatch(r"[\w./-]+( --?[\w-]+)*", command), f"{command!r} is logic: move it into a script"
        program = workflow.parents[2] / command.split()[0]
        assert program.is_file(), f"{workflow}: no file {program}"
        assert os.access(program, os.X_OK), f"{program} cannot be executed"
