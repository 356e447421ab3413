"""What the real client sends to Kubeflow, and what is made of its answers; kubeflow_api says what that proves."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import kfp_server_api as models
import pytest
import yaml
from conftest import ROOT, configured, copy_of_bundle, ml, one_line
from kubeflow_api import Api
from kubeflow_api import kubeflow as started
from typer.testing import CliRunner

from ml import revision
from ml.__main__ import app
from ml.contract import bundle as bundles
from ml.contract import ledger, verdict
from ml.errors import ContractError
from ml.pipeline import kubeflow
from ml.pipeline.compiled import Names, compiled, names
from ml.pipeline.run import Run
from ml.pipeline.scoring_steps import scoring
from ml.pipeline.steps import plan
from ml.pipeline.training import training
from ml.problem import source
from ml.scoring.run import Asked
from ml.settings import settings

IMAGE = "registry.example.org/a-training@sha256:" + "0" * 64
WINDOW = date(2013, 1, 1), date(2013, 3, 31)
NIGHTLY = "0 0 3 * * *"
GOLDEN = Path(__file__).parent / "golden"
WRITE_GOLDEN = "PYTHONPATH=.:tests python -c 'import test_kubeflow; test_kubeflow.write_golden()'"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Api]]:
    """A Kubeflow that remembers, and settings to reach it; store and lake are URLs, of this machine."""
    with started() as (host, api), configured(**reach(host, tmp_path)):
        yield host, api


@pytest.fixture
def api(server: tuple[str, Api]) -> Api:
    return server[1]


def reach(host: str, folder: Path) -> dict[str, str]:
    """Return the variables with which a Kubeflow is reached, and places that a cluster could reach."""
    places = {"STORE": "store", "DATA": "lake"}
    urls = {f"ML_{name}_URL": f"file://{folder}/{place}" for name, place in places.items()}
    named = {"HOST": host, "IMAGE": IMAGE, "TOKEN": str(folder / "token"), "EXPERIMENT": "trials"}
    (folder / "token").write_text("one-that-expires\n")
    return urls | {f"ML_KUBEFLOW_{name}": value for name, value in named.items()}


def registers(folder: Path, digest: str) -> Callable[[Any], None]:
    """Return what a run comes to that leaves a bundle, as the gate's step leaves it."""

    def end(run: Any) -> None:
        run.state = "SUCCEEDED"
        ledger.once(f"file://{folder}/store", "runs", run.run_id, {"bundle": digest})

    return end


def the_only(kept: dict[str, Any]) -> Any:
    (one,) = kept.values()
    return one


def test_a_run_has_the_image_by_digest_the_window_and_places_as_parameters(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.comes_to = registers(tmp_path, "f" * 64)
    assert kubeflow.run(*WINDOW) == Run("f" * 64)
    run, version = the_only(api.runs), the_only(api.versions)
    told = run.runtime_config.parameters
    assert (told["image"], told["lake"]) == (IMAGE, f"file://{tmp_path}/lake")
    assert (told["since"], told["until"], told["as_of"]) == ("2013-01-01", "2013-03-31", "")
    assert set(told) == set(inputs(version.pipeline_spec["pipeline_spec"]))
    assert run.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id
    assert the_only(api.experiments).display_name == "trials"
    assert f"/#/runs/details/{run.run_id}" in capsys.readouterr().out


def inputs(spec: dict) -> dict:
    return spec["root"]["inputDefinitions"]["parameters"]


def test_champion_and_waivers_of_the_environment_go_along(api: Api, tmp_path: Path) -> None:
    folder = tmp_path / "environments" / "staging"
    folder.mkdir(parents=True)
    (folder / "release.yaml").write_text(f"champion: {'c' * 64}\n")
    (folder / "waivers.toml").write_text("# none\n")
    api.comes_to = registers(tmp_path, "f" * 64)
    with configured(ML_RELEASE_FOLDER=folder.parent, ML_RELEASE_ENVIRONMENT="staging"):
        kubeflow.run(*WINDOW)
    told = the_only(api.runs).runtime_config.parameters
    assert (told["environment"], told["champion"], told["waivers"]) == ("staging", "c" * 64, "# none\n")


def test_the_same_pipeline_is_uploaded_once_and_another_beside_it(api: Api, tmp_path: Path) -> None:
    api.comes_to = registers(tmp_path, "f" * 64)
    for _ in range(2):
        kubeflow.run(*WINDOW)
    assert (len(api.pipelines), len(api.versions), len(api.runs), len(api.experiments)) == (1, 1, 2, 1)
    with configured(ML_KUBEFLOW_VOLUME="shared"):
        kubeflow.run(*WINDOW)
    assert len(api.versions) == 2
    mounts = [json.dumps(each.pipeline_spec["platform_spec"]).count('"pvcMount"') for each in api.versions.values()]
    assert mounts == [0, 8]


def test_the_token_is_read_anew_for_each_request_and_sent_as_bearer(api: Api, tmp_path: Path) -> None:
    def expires(run: Any) -> None:
        registers(tmp_path, "f" * 64)(run)
        (tmp_path / "token").write_text("the-next")

    api.comes_to = expires
    kubeflow.run(*WINDOW)
    tokens = {asked: token for asked, token in api.asked if not asked.endswith("healthz")}
    (look,) = [asked for asked in tokens if asked.startswith("GET /apis/v2beta1/runs/")]
    assert tokens.pop(look) == "Bearer the-next"
    assert set(tokens.values()) == {"Bearer one-that-expires"}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ML_KUBEFLOW_IMAGE": "registry.example.org/a-training:latest"}, "is not named by digest"),
        ({"ML_KUBEFLOW_IMAGE": "registry.example.org/a-training@sha256:00"}, "is not named by digest"),
        ({"ML_KUBEFLOW_IMAGE": ""}, "no image is named"),
        ({"ML_KUBEFLOW_HOST": ""}, "no host is named"),
        ({"ML_KUBEFLOW_HOST": "http://127.0.0.1:9"}, "does not answer"),
        ({"ML_KUBEFLOW_TOKEN": "/absent/token"}, "there is no token in /absent/token"),
        ({"ML_STORE_URL": "store"}, "/store is out of a cluster's reach"),
        ({"ML_DATA_URL": "/here/lake"}, "lake /here/lake is out of a cluster's reach"),
        ({"ML_DATA_URL": "/var/ml/lake"}, "lake /var/ml/lake is out of a cluster's reach"),
        ({"ML_DATA_URL": "/here/lake", "ML_KUBEFLOW_VOLUME": "shared"}, "lake /here/lake is out of a cluster's reach"),
    ],
)
def test_what_cannot_run_there_is_refused_before_anything_is_sent(
    api: Api, variables: dict[str, str], said: str
) -> None:
    with configured(**variables), pytest.raises(ContractError, match=said):
        kubeflow.run(*WINDOW)
    assert (api.pipelines, api.runs) == ({}, {})


def test_a_registry_on_this_machine_may_have_tags(api: Api, tmp_path: Path) -> None:
    api.comes_to = registers(tmp_path, "f" * 64)
    with configured(ML_KUBEFLOW_IMAGE="localhost:5001/a-training:dev"):
        kubeflow.run(*WINDOW)
    assert the_only(api.runs).runtime_config.parameters["image"] == "localhost:5001/a-training:dev"


def test_a_volume_takes_the_place_of_object_stores_but_not_of_a_redis(api: Api) -> None:
    here = {"ML_STORE_URL": "/var/ml/store", "ML_DATA_URL": "/var/ml/lake", "ML_KUBEFLOW_VOLUME": "shared"}
    what = Asked("f" * 64, "/var/ml/lake", "/var/ml/lake", "/var/ml/scores", *WINDOW, None, 100)
    with configured(**here):
        assert kubeflow.run(*WINDOW) is None  # this machine cannot read what was made
        with pytest.raises(ContractError, match=r"online .* is out of a cluster's reach.*redis://"):
            kubeflow.score(what, 2)
        with configured(ML_ONLINE_URL="redis://redis:6379/0"):
            kubeflow.score(what, 2)
    assert [run.display_name.split(" ")[0] for run in api.runs.values()] == ["training", "scoring"]
    assert list(api.runs.values())[1].runtime_config.parameters["shards"] == ["0/2", "1/2"]


@pytest.mark.parametrize("where", ["pod_name", "child_tasks"])
def test_a_run_that_fails_ends_with_the_sentence_of_the_step(server: tuple[str, Api], where: str) -> None:
    host, api = server
    pods = {"pod_name": "its-pod", "child_tasks": [models.PipelineTaskDetailChildTask(pod_name="its-pod")]}

    def fail(run: Any) -> None:
        step = models.V2beta1PipelineTaskDetail(display_name="validate", state="FAILED", **{where: pods[where]})
        driver = models.V2beta1PipelineTaskDetail(display_name="driver", state="FAILED", pod_name="gone")
        run.state, run.run_details = "FAILED", models.V2beta1RunDetails(task_details=[driver, step])

    api.comes_to = fail
    api.logs["its-pod"] = "Traceback\nml.errors.ContractError: data: distance: 3 rows. See the source\n"
    with pytest.raises(ContractError, match=r"^data: distance: 3 rows\. See the source$"):
        kubeflow.run(*WINDOW)
    del api.logs["its-pod"]
    with pytest.raises(ContractError, match=rf"^pipeline: the run has failed: driver, validate\. See {host}/#/runs"):
        kubeflow.run(*WINDOW)


def test_a_run_that_was_cancelled_is_over_and_no_success(api: Api) -> None:
    def cancel(run: Any) -> None:
        run.state, run.error = "CANCELED", models.GoogleRpcStatus(message="by somebody")

    api.comes_to = cancel
    with pytest.raises(ContractError, match="the run has canceled: by somebody"):
        kubeflow.run(*WINDOW)


def test_a_gateway_that_fails_for_a_moment_ends_nothing_and_a_refusal_ends_it(api: Api, tmp_path: Path) -> None:
    api.comes_to = registers(tmp_path, "f" * 64)
    api.refusing = [503]
    assert kubeflow.run(*WINDOW) == Run("f" * 64)
    api.refusing = [403]
    with pytest.raises(ContractError, match="refuses: 403, it is not so"):
        kubeflow.run(*WINDOW)


def test_a_schedule_runs_one_at_a_time_makes_up_for_none_and_asks_for_what_has_matured(api: Api) -> None:
    kubeflow.schedule(NIGHTLY)
    made = the_only(api.recurring_runs)
    assert (made.trigger.cron_schedule.cron, made.mode) == (NIGHTLY, "ENABLE")
    assert (int(made.max_concurrency), made.no_catchup) == (1, True)
    assert made.pipeline_version_reference.pipeline_version_id == the_only(api.versions).pipeline_version_id
    told = made.runtime_config.parameters
    assert (told["since"], told["until"], told["as_of"]) == ("", "", "[[CurrentTime.2006-01-02T15:04:05Z]]")
    with pytest.raises(ContractError, match="has not six fields"):
        kubeflow.schedule("0 3 * * *")


def test_a_schedule_is_replaced_only_when_something_differs(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    def scheduled(cron: str = NIGHTLY) -> str:
        kubeflow.schedule(cron)
        return the_only(api.recurring_runs).recurring_run_id

    first = scheduled()
    assert scheduled() == first
    assert "stays as it was" in capsys.readouterr().out
    second = scheduled("0 0 4 * * *")
    assert second != first
    assert scheduled("0 0 4 * * *") == second
    with configured(ML_TRAIN_SEED="8"):
        third = scheduled("0 0 4 * * *")
    assert third not in (first, second)
    the_only(api.recurring_runs).mode = "DISABLE"
    assert scheduled("0 0 4 * * *") not in (first, second, third)


def test_a_version_is_named_by_the_commit_and_says_when_files_differ(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        return subprocess.run(["git", *who, *words], cwd=project, capture_output=True, text=True, check=True).stdout

    monkeypatch.setattr(revision, "ROOT", project)
    assert names(training).version.startswith("no-commit-")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "One")
    head = git("rev-parse", "HEAD")[:12]
    assert names(training).version == f"git-{head}"
    with configured(ML_KUBEFLOW_VOLUME="shared"):
        assert names(training).version == f"git-{head}-shared"
    (project / "ml/added.py").write_text("")
    changed = names(training).version
    assert changed.startswith(f"git-{head}-changed-")
    assert changed != names(scoring).version
    git("add", "-A")
    git("commit", "-qm", "Two")
    assert names(training).version == f"git-{git('rev-parse', 'HEAD')[:12]}"


@pytest.mark.parametrize(("answer", "code"), [("pass", 0), ("fail", 10), ("inconclusive", 11)])
def test_the_verb_waits_shows_the_verdict_and_ends_with_its_exit_code(
    bundle: tuple[str, str], tmp_path: Path, answer: str, code: int
) -> None:
    copy_of_bundle(bundle, tmp_path / "store")
    baseline = bundles.load(bundle[0], bundle[1]).baseline
    file = Path(verdict.folder(str(tmp_path / "store"), bundle[1], baseline)) / verdict.FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"answer": answer}))
    with started() as (host, api), configured(**reach(host, tmp_path)):
        api.comes_to = registers(tmp_path, bundle[1])
        ran = CliRunner().invoke(app, ["pipeline", "run", "--on", "kubeflow"])
    assert ran.exit_code == code, ran.output
    assert f"verdict   {answer}" in ran.output
    assert f"{host}/#/runs/details/" in ran.output


def test_the_verb_ends_with_one_line_when_the_run_fails(tmp_path: Path) -> None:
    with started() as (host, api):
        api.comes_to = lambda run: setattr(run, "state", "FAILED")
        ran = ml("pipeline", "run", "--on", "kubeflow", **reach(host, tmp_path))
    assert "the run has failed" in one_line(ran)


def test_an_interrupted_verb_ends_the_run_that_it_waits_for(tmp_path: Path) -> None:
    with started() as (host, api):
        api.comes_to = lambda run: setattr(run, "state", "RUNNING")
        words = [sys.executable, "-m", "ml", "pipeline", "run", "--on", "kubeflow"]
        waits = subprocess.Popen(words, cwd=ROOT, env=os.environ | reach(host, tmp_path), stdout=subprocess.DEVNULL)
        while not any("GET /apis/v2beta1/runs/" in asked for asked, _ in api.asked) and waits.poll() is None:
            time.sleep(0.1)
        waits.send_signal(signal.SIGTERM)
        assert waits.wait(60) == 130
        assert the_only(api.runs).state == "CANCELED"


def test_the_state_of_the_data_is_another_for_each_run_of_an_image_that_has_a_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "publish", lambda lake: iter(()))

    def state(image: str, run: str) -> str:
        return plan.python_func(str(tmp_path), "2013-01-01", "2013-01-31", "", image, run)[2]

    assert state(IMAGE, "one") == state(IMAGE, "two")
    assert state("localhost:5001/a-training:dev", "one") != state("localhost:5001/a-training:dev", "two")


def executors(text: str) -> tuple[dict, dict, dict]:
    """Return a pipeline's tasks, containers and what Kubernetes is told of them, each by step."""
    spec, platform = yaml.safe_load_all(text)
    dags = [spec["root"], *(each for each in spec["components"].values() if "dag" in each)]
    tasks = {name: task for each in dags for name, task in each["dag"]["tasks"].items()}
    told = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    found = spec["deploymentSpec"]["executors"]
    return tasks, {name[5:]: each["container"] for name, each in found.items()}, {name[5:]: told[name] for name in told}


def test_only_what_follows_from_image_window_and_data_is_cached() -> None:
    def cached(pipeline: Any) -> set[str]:
        tasks = executors(compiled(pipeline))[0]
        return {name for name, task in tasks.items() if task.get("cachingOptions", {}).get("enableCache")}

    assert cached(training) == {"ingest", "validate", "features", "train", "evaluate"}
    assert cached(scoring) == set()
    tasks = executors(compiled(training))[0]
    for name in cached(training):  # the image's digest is in Kubeflow's key, as an input
        assert "pipelinechannel--image" in tasks[name]["inputs"]["parameters"], name
    given = tasks["ingest"]["inputs"]["parameters"]
    assert {name: given[name]["taskOutputParameter"]["producerTask"] for name in ("since", "until", "data")} == {
        "since": "plan", "until": "plan", "data": "plan"
    }  # fmt: skip


@pytest.mark.parametrize("pipeline", [training, scoring])
def test_each_step_is_no_root_has_limits_and_credentials_by_reference(pipeline: Any) -> None:
    _, containers, told = executors(compiled(pipeline))
    assert containers.keys() == told.keys()
    for name, each in told.items():
        assert each["securityContext"] == {"runAsUser": "10001", "runAsGroup": "10001", "runAsNonRoot": True}, name
        (secret,) = each["secretAsEnv"]
        assert secret["optional"] is True
        assert "secretName" not in secret  # the name is a parameter
        assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} < {key["envVar"] for key in secret["keyToEnv"]}
        wants = containers[name]["resources"]
        assert wants["resourceMemoryLimit"] == wants["resourceMemoryRequest"]
        assert {"resourceCpuRequest", "resourceCpuLimit"} <= wants.keys()
        assert "env" not in containers[name]


def test_every_setting_is_explained() -> None:
    told = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/kubeflow.md").read_text(), re.MULTILINE)
    assert [name for name in told if name != "plan"] == [
        *settings().kubeflow.model_dump(),
        *settings().trainjob.model_dump(),
    ]


def golden() -> dict[str, str]:
    """Return what the golden files must hold."""
    made = {}
    for pipeline in (training, scoring):
        example = Names(f"example-{pipeline.name}", "git-000000000000")
        made[f"{pipeline.name}.yaml"] = compiled(pipeline)
        made[f"{pipeline.name}-manifest.yaml"] = compiled(pipeline, manifest=example)
    return made


def write_golden() -> None:
    """Write the golden files anew."""
    for name, text in golden().items():
        (GOLDEN / name).write_text(text)


def test_both_pipelines_compile_to_the_golden_files() -> None:
    made = golden()
    assert {file.name for file in GOLDEN.iterdir()} == set(made)
    for name, text in made.items():
        assert (GOLDEN / name).read_text() == text, f"write it anew, in the project's folder: {WRITE_GOLDEN}"
        assert str(Path.home()) not in text
        assert str(GOLDEN.parents[1]) not in text
