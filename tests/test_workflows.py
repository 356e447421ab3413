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

# What a job may do beside reading the repository, and why it has to; a job that is not named may do nothing else.
ROLE = {"id-token": "write"}  # the cloud's role
PROPOSES = {"contents": "write", "pull-requests": "write", "actions": "write"}
SIGNS = {"id-token": "write", "attestations": "write"}
TELLS = {"issues": "write"}
MAY = {
    "nightly/tell": TELLS,
    "release/charts": {**SIGNS, "packages": "write"},
    "project/ci/prove": {"pull-requests": "write"},
    "project/train/ask": {**ROLE, "actions": "write"},
    "project/train/train": ROLE,
    "project/train/propose": {**PROPOSES, **SIGNS},
    "project/promote/promote": {**PROPOSES, **SIGNS},
    "project/image/build": {**SIGNS, "packages": "write"},
    "project/image/propose": {**PROPOSES, **ROLE},
    "project/deploy/deploy": {**PROPOSES, **ROLE, **TELLS, "attestations": "read", "packages": "read"},
}

# A program of the repository and its words: options, names, and what a step's variables say, always in quotes.
NAME = r"[\w./:-]+"
WORD = rf'(--?[\w-]+|{NAME}|({NAME}=)?"\$[A-Z_]+"|\$\{{[A-Z_]+:\+--[\w-]+ "\$[A-Z_]+"\}})'
COMMAND = re.compile(rf"{NAME}( {WORD})*")

names = [str(path.relative_to(TEMPLATE)) for path in WORKFLOWS]
every_workflow = pytest.mark.parametrize("workflow", WORKFLOWS, ids=names)


def run(tool: str, *arguments: str | Path) -> None:
    """Demand that a tool of this environment finds nothing in the files that it is given by name."""
    program = shutil.which(tool, path=Path(sys.executable).parent)
    assert program, f"{tool} is not installed beside {sys.executable}: install the `dev` extra"
    result = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, cwd=TEMPLATE)
    assert result.returncode == 0, result.stdout + result.stderr


def read(workflow: Path) -> dict:
    """Return a workflow; YAML takes its key `on` for a truth."""
    content = yaml.safe_load(workflow.read_text())
    return {"on": content.pop(True), **content}


def jobs(workflow: Path) -> dict[str, dict]:
    """Return the jobs of a workflow by the names that MAY has for them."""
    beginning = "" if workflow.parents[2] == TEMPLATE else "project/"
    return {f"{beginning}{workflow.stem}/{name}": job for name, job in read(workflow)["jobs"].items()}


def steps(workflow: Path) -> list[dict]:
    return [step for job in jobs(workflow).values() for step in job["steps"]]


def project(name: str) -> Path:
    return TREES[1] / ".github" / "workflows" / f"{name}.yml"


def test_both_trees_have_workflows_and_dependabot():
    assert {path.parents[2] for path in WORKFLOWS} == set(TREES)
    assert all(path.is_file() for path in DEPENDABOT)
    wanted = {"ci", "cluster", "deploy", "image", "promote", "train"}
    assert {path.stem for path in WORKFLOWS if path.parents[2] == TREES[1]} == wanted


@pytest.mark.parametrize("where", ["template", "generated project"])
def test_actionlint_and_zizmor_find_nothing_and_are_told_to_overlook_nothing(where, request):
    if where == "template":
        workflows, dependabot = WORKFLOWS, DEPENDABOT
    else:
        made = request.getfixturevalue("project")
        workflows, dependabot = sorted(made.glob(".github/workflows/*.yml")), [made / ".github/dependabot.yml"]
    strict = ("--persona=pedantic", "--strict-collection", "--no-config", "--no-ignores")
    run("actionlint", "-no-color", "-shellcheck=", "-pyflakes=", *workflows)
    run("zizmor", "--offline", "--no-progress", *strict, *workflows, *dependabot)


@pytest.mark.parametrize("file", DEPENDABOT, ids=lambda file: str(file.relative_to(TEMPLATE)))
def test_what_dependabot_proposes_has_been_public_for_a_week(file):
    updates = yaml.safe_load(file.read_text())["updates"]
    assert "github-actions" in {each["package-ecosystem"] for each in updates}
    assert all(each["cooldown"]["default-days"] >= 7 for each in updates)


@every_workflow
def test_every_action_is_pinned_by_commit_with_its_version(workflow):
    used = re.findall(r"uses:(.*)", workflow.read_text())
    assert len(used) == sum("uses" in step for step in steps(workflow)) > 0
    for reference in used:
        assert re.fullmatch(r" [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", reference), reference


def test_an_action_is_everywhere_of_one_version():
    versions: dict[str, set[str]] = {}
    for workflow in WORKFLOWS:
        for action, version in re.findall(r"uses: ([\w./-]+)@(.*)", workflow.read_text()):
            versions.setdefault(action, set()).add(version)
    assert not {action: found for action, found in versions.items() if len(found) > 1}


@every_workflow
def test_a_job_may_do_what_it_has_to_and_nothing_else(workflow):
    assert read(workflow)["permissions"] == {}
    for name, job in jobs(workflow).items():
        assert job["permissions"] == {"contents": "read"} | MAY.get(name, {}), name
        assert job["timeout-minutes"] <= 350, name
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_no_right_is_kept_for_a_job_that_is_gone():
    assert MAY.keys() <= {name for workflow in WORKFLOWS for name in jobs(workflow)}


@every_workflow
def test_what_comes_from_elsewhere_sees_no_secret(workflow):
    triggers = read(workflow)["on"]
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(triggers)
    if "pull_request" in triggers:
        assert "secrets." not in workflow.read_text()
        assert not [name for name, job in jobs(workflow).items() if "id-token" in job["permissions"]]


@every_workflow
def test_secrets_are_those_of_an_environment_that_can_be_kept_to_the_main_branch(workflow):
    for name, job in jobs(workflow).items():
        if "secrets." in yaml.safe_dump(job):
            assert job["environment"], name


@every_workflow
def test_nothing_that_changes_something_runs_twice_at_once_or_is_broken_off(workflow):
    whole = read(workflow).get("concurrency")
    for name, job in jobs(workflow).items():
        own = job.get("concurrency", whole)
        assert own["group"], name
        if "write" in {
            right for kind, right in job["permissions"].items() if kind not in ("id-token", "pull-requests")
        }:
            assert own["cancel-in-progress"] is False, name


@every_workflow
def test_who_reads_the_store_may_take_the_role_that_opens_it(workflow):
    for name, job in jobs(workflow).items():
        if "ML_STORE_URL" in job.get("env", {}):
            used = [step.get("uses", "").partition("@")[0] for step in job["steps"]]
            assert "aws-actions/configure-aws-credentials" in used, name


@pytest.mark.parametrize("name", ["train", "image", "promote"])
def test_stages_are_what_a_variable_says(name):
    text = project(name).read_text()
    assert "vars.STAGES" in text
    assert "staging" not in text.replace("""vars.STAGES || '["staging", "production"]'""", "")


def test_an_environment_is_deployed_to_once_at_a_time_and_by_its_own_rules():
    deploy = read(project("deploy"))["jobs"]["deploy"]
    assert deploy["environment"] == "${{ matrix.environment }}"
    assert deploy["concurrency"] == {"group": "deploy-${{ matrix.environment }}", "cancel-in-progress": False}
    assert "concurrency" not in read(project("deploy"))  # of several that wait GitHub would forget all but the last


@pytest.mark.parametrize(("name", "job"), [("train", "propose"), ("promote", "promote")])
def test_who_proposes_to_a_stage_waits_for_who_does_so_already(name, job):
    found = read(project(name))["jobs"][job]["concurrency"]
    stage = "matrix.environment" if name == "promote" else 'fromJSON(vars.STAGES || \'["staging", "production"]\')[0]'
    assert found == {"group": f"promote-${{{{ {stage} }}}}", "cancel-in-progress": False}


@every_workflow
def test_every_run_is_one_program_of_the_repository(workflow):
    commands = [step["run"] for step in steps(workflow) if "run" in step]
    commands = [command for command in commands if not command.startswith("apt-get ")]  # what checkout needs
    assert commands
    for command in commands:
        assert COMMAND.fullmatch(command), f"{command!r} is logic: move it into a script"
        program = workflow.parents[2] / command.split()[0]
        assert program.is_file(), f"{workflow}: no file {program}"
        assert os.access(program, os.X_OK), f"{program} cannot be executed"


@every_workflow
def test_what_others_write_reaches_a_program_as_a_variable_alone(workflow):
    for step in steps(workflow):
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize(
    ("name", "variable"),
    [*((name, "STORE_URL") for name in ("train", "promote", "deploy")), ("image", "IMAGE_REGISTRY")],
)
def test_a_fresh_project_does_nothing_but_say_how_it_is_configured(name, variable, tmp_path):
    found = read(project(name))["jobs"]
    free = [job for job in found.values() if f"vars.{variable} != ''" not in job.get("if", "") and "needs" not in job]
    assert [job["if"] for job in free] == [f"vars.{variable} == ''"]
    (said,) = [step["run"] for step in free[0]["steps"] if "run" in step]
    told = subprocess.run([TREES[1] / said.split()[0], *said.split()[1:]], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("::notice::Skipped: ")
    assert variable in told.stdout


def test_both_trees_rehearse_on_a_cluster_in_the_same_way():
    own, projects = (tree / ".github/workflows/cluster.yml" for tree in TREES)
    assert own.read_bytes() == projects.read_bytes()
    assert [step["run"] for step in steps(own) if "run" in step] == ["scripts/cluster"]
    images = [each["image"] for each in read(own)["jobs"]["kind"]["strategy"]["matrix"]["include"]]
    assert all(re.fullmatch(r"kindest/node:v1\.\d\d\.\d+@sha256:[0-9a-f]{64}", image) for image in images)
    assert len(set(images)) == len(images) > 1
