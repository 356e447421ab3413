"""The Kubeflow pipeline: the very object that runs here is compiled for a cluster; a failing step stops it."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ml.contract import bundle as bundles
from ml.errors import ContractError
from ml.pipeline import scoring_steps
from ml.pipeline.steplog import reason
from ml.pipeline.steps import VERBS, compile, training

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    target = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    compile(training, target)
    return list(yaml.safe_load_all(target.read_text()))


def test_the_image_of_every_step_is_a_parameter_of_the_pipeline(compiled: list[dict]) -> None:
    spec = compiled[0]
    assert spec["root"]["inputDefinitions"]["parameters"]["image"] == {"parameterType": "STRING"}
    executors = spec["deploymentSpec"]["executors"]
    assert len(executors) == len(VERBS)
    for executor in executors.values():
        assert "pipelinechannel--image" in executor["container"]["image"]


def test_no_step_installs_anything_when_it_starts(compiled: list[dict]) -> None:
    for executor in compiled[0]["deploymentSpec"]["executors"].values():
        assert "pip install" not in " ".join(executor["container"]["command"])


def tasks(dag: dict, components: dict) -> dict[str, set[str]]:
    """Return each step and those it waits for; a loop is the steps inside it."""
    inside = {
        name: set(components[task["componentRef"]["name"]].get("dag", {}).get("tasks", {name: None}))
        for name, task in dag["tasks"].items()
    }
    return {
        step: {each for name in task.get("dependentTasks", []) for each in inside[name]}
        for loop, task in dag["tasks"].items()
        for step in inside[loop]
    }


def test_steps_run_in_the_order_of_the_verbs(compiled: list[dict]) -> None:
    waits = tasks(compiled[0]["root"]["dag"], compiled[0]["components"])
    done: list[str] = []
    while len(done) < len(waits):
        ready = [name for name, on in waits.items() if name not in done and on <= set(done)]
        assert len(ready) == 1, "two steps could run at once"
        done += ready
    assert tuple(done) == VERBS


def test_rungs_are_trained_side_by_side(compiled: list[dict]) -> None:
    (loop,) = (task for task in compiled[0]["root"]["dag"]["tasks"].values() if "parameterIterator" in task)
    assert set(compiled[0]["components"][loop["componentRef"]["name"]]["dag"]["tasks"]) == {"train"}
    assert "iteratorPolicy" not in loop  # no limit to how many at once


def test_shards_are_scored_side_by_side_and_the_switch_waits_for_all_of_them(tmp_path: Path) -> None:
    compile(scoring_steps.scoring, tmp_path / "scoring.yaml")
    spec = next(yaml.safe_load_all((tmp_path / "scoring.yaml").read_text()))
    (loop,) = (task for task in spec["root"]["dag"]["tasks"].values() if "parameterIterator" in task)
    assert set(spec["components"][loop["componentRef"]["name"]]["dag"]["tasks"]) == {"score"}
    assert "iteratorPolicy" not in loop
    waits = tasks(spec["root"]["dag"], spec["components"])
    assert waits == {"plan": set(), "score": {"plan"}, "publish": {"plan", "score"}}
    assert set(waits) == set(scoring_steps.VERBS)
    for executor in spec["deploymentSpec"]["executors"].values():
        assert "pipelinechannel--image" in executor["container"]["image"]
        assert "pip install" not in " ".join(executor["container"]["command"])


def test_a_run_registers_a_bundle_that_replays_its_golden_records(bundle: tuple[str, str]) -> None:
    store, digest = bundle
    assert bundles.load(store, digest).replay_golden() == 64
    assert training.name == "training"


def test_data_that_breaks_the_schema_stops_the_run_and_nothing_is_registered(lake: str, tmp_path: Path) -> None:
    broken = tmp_path / "lake"
    broken.mkdir()
    for day in pd.date_range("2013-01-01", "2013-01-03").strftime("%Y-%m-%d"):
        partition = pd.read_parquet(io.BytesIO((Path(lake) / f"day={day}.parquet").read_bytes()))
        partition.loc[3, "distance"] = -7
        partition.to_parquet(broken / f"day={day}.parquet")
    for day in range(362):  # publishing finds a full year and leaves it alone
        (broken / f"day={pd.Timestamp('2014-01-01') + pd.Timedelta(days=day):%Y-%m-%d}.parquet").touch()
    environment = {
        **os.environ,
        "ML_STORE_URL": str(tmp_path / "store"),
        "ML_DATA_URL": str(broken),
        "PYTHONPATH": str(ROOT),
    }
    ran = subprocess.run(
        [sys.executable, "-m", "ml", "pipeline", "run", "--since", "2013-01-01", "--until", "2013-01-03"],
        capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 1
    assert len(ran.stderr.strip().splitlines()) == 1
    assert "distance: column values to be between" in ran.stderr
    assert "3 rows, such as -7" in ran.stderr
    assert "features" not in ran.stdout
    assert not (tmp_path / "store" / "bundles").exists()


def test_a_step_that_fails_otherwise_leaves_its_log(tmp_path: Path) -> None:
    error = reason("Traceback\nMemoryError\n", tmp_path / "failed.log")
    assert isinstance(error, ContractError)
    assert str(tmp_path / "failed.log") in str(error)
    assert "MemoryError" in (tmp_path / "failed.log").read_text()
