"""What the workflows call, and the workflows themselves, run on this machine; docs/github.md says what is left out."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, configured
from github_api import NAME, github
from stand_ins import StandIns, stand_ins  # noqa: F401
from workflow_runs import Runs, prepared, publish

from ml.pipeline import summary
from ml.pipeline.run import Run

# In the place of Python: says which words it got and which variables it saw, and ends as the last word says.
SAYS = f"""[ "$1" = -m ] || exec {sys.executable} "$@"
echo "$@" && env | grep -E '^(ML|AWS)_[A-Z_]+=' | grep -v ML_ENVIRONMENT | sort
for last; do :; done
case $last in [0-9]*) exit "$last" ;; esac"""


def test_actionlint_and_zizmor_find_nothing_and_are_told_to_overlook_nothing() -> None:
    workflows, tools = sorted(ROOT.glob(".github/workflows/*.y*ml")), Path(sys.executable).parent
    strict = ("--persona=pedantic", "--strict-collection", "--no-config", "--no-ignores")
    assert len(workflows) > 3
    for words in (
        (tools / "actionlint", "-no-color", "-shellcheck=", "-pyflakes="),
        (tools / "zizmor", "--offline", "--no-progress", *strict, ROOT / ".github" / "dependabot.yml"),
    ):
        ran = subprocess.run([*words, *workflows], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """An environment in which scripts/ml says what it would run."""
    prepared(tmp_path / "environment", SAYS)
    return tmp_path


def call(there: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call scripts/ml as a workflow does."""
    seen = {name: value for name, value in os.environ.items() if not name.startswith(("ML_", "AWS_"))}
    seen |= {"ML_ENVIRONMENT": str(there / "environment"), "PYTHONPATH": str(ROOT), "RUNNER_TEMP": str(there)}
    seen |= {"GITHUB_OUTPUT": str(there / "outputs"), **variables}
    return subprocess.run([ROOT / "scripts" / "ml", *words], env=seen, capture_output=True, text=True, check=False)


def test_a_verb_is_run_with_its_words_and_ends_as_it_ends(script: Path) -> None:
    ran = call(script, "promote", "staging", "--bundle", "a b")
    assert (ran.returncode, ran.stdout) == (0, "-m ml promote staging --bundle a b\n"), ran.stderr
    assert call(script, "gate", "10").returncode == 10


@pytest.mark.parametrize(("code", "ends"), [("0", 0), ("10", 0), ("11", 0), ("1", 1), ("130", 130)])
def test_a_verdict_that_is_asked_for_fails_no_step_and_an_error_does(script: Path, code: str, ends: int) -> None:
    assert call(script, "--answer", "gate", code).returncode == ends


def test_the_last_line_of_a_verb_becomes_an_output(script: Path) -> None:
    ran = call(script, "--output", "environments", "deploy", "--changed", "abc")
    assert ran.stdout == "-m ml deploy --changed abc\n"
    assert (script / "outputs").read_text() == "environments=-m ml deploy --changed abc\n"


def test_what_is_not_configured_on_github_is_as_if_it_were_not_set(script: Path) -> None:
    ran = call(script, "gate", ML_KUBEFLOW_HOST="", AWS_ACCESS_KEY_ID="", ML_STORE_URL="s3://bucket/store")
    assert ran.stdout == "-m ml gate\nML_STORE_URL=s3://bucket/store\n"


def test_a_key_becomes_a_file_that_its_owner_alone_may_read(script: Path) -> None:
    ran = call(script, "attest", SIGNING_KEY="-----BEGIN\nkey")
    assert ran.stdout == f"-m ml attest\nML_SIGNING_KEY={script}/signing-key\n"
    assert (script / "signing-key").read_text() == "-----BEGIN\nkey\n"
    assert (script / "signing-key").stat().st_mode & 0o777 == 0o600


def test_a_cluster_is_reached_by_a_file_or_by_tokens_for_this_job(tmp_path: Path) -> None:
    def kubeconfig(**variables: str) -> str:
        seen = {"PATH": os.environ["PATH"], "RUNNER_TEMP": str(tmp_path), "GITHUB_ENV": str(tmp_path / "env")}
        subprocess.run(
            [ROOT / "scripts" / "kubeconfig"], cwd=ROOT, env=seen | variables, check=True, capture_output=True
        )
        return (tmp_path / "env").read_text() if (tmp_path / "env").exists() else ""

    assert kubeconfig() == ""
    assert kubeconfig(KUBECONFIG_DATA="apiVersion: v1") == f"KUBECONFIG={tmp_path}/kubeconfig\n"
    assert (tmp_path / "kubeconfig").read_text() == "apiVersion: v1\n"
    kubeconfig(KUBERNETES_SERVER="https://cluster:6443", KUBERNETES_CA="Y2E=")
    assert f'command: "{ROOT}/scripts/kubeconfig"' in (tmp_path / "kubeconfig").read_text()
    assert (tmp_path / "kubeconfig").stat().st_mode & 0o777 == 0o600


def test_an_image_is_signed_by_its_digest_without_a_key_and_without_a_question(stand_ins: StandIns) -> None:  # noqa: F811
    stand_ins.put("cosign", ("refused", "", 1))
    image = f"registry.example.org/team/churn@sha256:{'d' * 64}"
    sign = ROOT / "scripts" / "sign"
    assert subprocess.run([sign, image], check=False).returncode == 0
    # https://docs.sigstore.dev/cosign/signing/overview/: who signs without a key agrees to the public log by --yes.
    assert [str(call) for call in stand_ins.calls] == [f"cosign sign --yes {image}"]
    assert subprocess.run([sign, f"{image}refused"], check=False).returncode == 1


def test_a_run_tells_a_workflow_what_it_made_and_why_it_may_go_on(
    bundle: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("output", "step_summary"):
        monkeypatch.setenv(f"GITHUB_{name.upper()}", str(tmp_path / name))
    ran = Run(bundle[1])
    with configured(ML_STORE_URL=bundle[0]):
        summary.show(ran)
        summary.keep(ran, tmp_path / "evidence")
    assert (tmp_path / "output").read_text() == f"bundle={bundle[1]}\nverdict=pass\n"
    assert (tmp_path / "step_summary").read_text().startswith("**pass**: logistic `")
    kept = {"verdict.json", "gate.html", "model_card.md", "model_card.html"}
    assert {file.name for file in (tmp_path / "evidence").iterdir()} == kept


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """This project on a GitHub of our own, and what runs its workflows."""
    home = tmp_path_factory.mktemp("runs")
    with github(home / "hub.git") as hub:
        prepared(home / "environment")
        publish(hub, home / "seed")
        yield Runs(hub, home)


@pytest.mark.slow
@pytest.mark.parametrize("workflow", ["train", "promote", "image", "deploy"])
def test_a_fresh_project_is_green_and_says_how_it_is_configured(workflow: str, runs: Runs) -> None:
    event = "push" if workflow in ("image", "deploy") else "workflow_dispatch"
    ran = runs.run(f"{workflow}.yml", event)
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"Skipped: .* until the variable (STORE_URL|IMAGE_REGISTRY) names", ran.stdout)
    assert set(re.findall(r"^\[[^/\]]+/([^\]]+?) *\]", ran.stdout, re.MULTILINE)) == {"how to configure it"}
    assert (runs.hub.pulls, runs.hub.dispatched) == ({}, [])


@pytest.mark.slow
def test_ci_proves_the_gate_and_tells_the_pull_request(runs: Runs, lake: str) -> None:
    pull = {"number": 7, "head": {"ref": "change", "repo": {"full_name": NAME}}, "base": {"ref": "main"}}
    payload = {"number": 7, "pull_request": pull}
    ran = runs.run("ci.yml", "pull_request", "prove", payload=payload, ML_DATA_URL=lake, ML_DATA_SINCE="2013-02-01")
    assert ran.returncode == 0, ran.stdout
    (told,) = runs.hub.comments[7]
    assert re.findall(r"\| (pass|fail) \| \*\*(\w+)\*\* \|", told["body"]) == [("pass", "pass"), ("fail", "fail")]
    assert f"{runs.hub.url}/{NAME}/actions/runs/" in told["body"]
    assert len(list((runs.artifacts / "evidence").rglob("gate.html"))) == 2
