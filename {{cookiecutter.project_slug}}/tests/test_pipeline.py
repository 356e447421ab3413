"""The Kubeflow pipeline: the very object that runs here is compiled for a cluster; a failing step stops it."""

import io
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ml.contract import bundle as bundles
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.pipeline import scoring_steps
from ml.pipeline.compiled import compiled
from ml.pipeline.steplog import reason
from ml.pipeline.steps import VERBS
from ml.pipeline.training import training
from ml.problem import source
from ml.store import files
from ml.training.plan import matured, plan

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def spec() -> dict:
    return next(yaml.safe_load_all(compiled(training)))


def test_the_image_of_every_step_is_a_parameter_of_the_pipeline(spec: dict) -> None:
    assert spec["root"]["inputDefinitions"]["parameters"]["image"] == {"parameterType": "STRING"}
    executors = spec["deploymentSpec"]["executors"]
    assert len(executors) == len(VERBS)
    for executor in executors.values():
        assert "pipelinechannel--image" in executor["container"]["image"]


def test_no_step_installs_anything_when_it_starts(spec: dict) -> None:
    for executor in spec["deploymentSpec"]["executors"].values():
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


def test_steps_run_in_the_order_of_the_verbs(spec: dict) -> None:
    waits = tasks(spec["root"]["dag"], spec["components"])
    done: list[str] = []
    while len(done) < len(waits):
        ready = [name for name, on in waits.items() if name not in done and on <= set(done)]
        assert len(ready) == 1, "two steps could run at once"
        done += ready
    assert tuple(done) == VERBS


def test_rungs_are_trained_side_by_side(spec: dict) -> None:
    (loop,) = (task for task in spec["root"]["dag"]["tasks"].values() if "parameterIterator" in task)
    assert set(spec["components"][loop["componentRef"]["name"]]["dag"]["tasks"]) == {"train"}
    assert "iteratorPolicy" not in loop  # no limit to how many at once


def test_shards_are_scored_side_by_side_and_the_switch_waits_for_all_of_them() -> None:
    spec = next(yaml.safe_load_all(compiled(scoring_steps.scoring)))
    (loop,) = (task for task in spec["root"]["dag"]["tasks"].values() if "parameterIterator" in task)
    assert set(spec["components"][loop["componentRef"]["name"]]["dag"]["tasks"]) == {"score"}
    assert "iteratorPolicy" not in loop
    waits = tasks(spec["root"]["dag"], spec["components"])
    assert waits == {"plan": set(), "score": {"plan"}, "publish": {"plan", "score"}}
    assert set(waits) == set(scoring_steps.VERBS)
    for executor in spec["deploymentSpec"]["executors"].values():
        assert "pipelinechannel--image" in executor["container"]["image"]
        assert "pip install" not in " ".join(executor["container"]["command"])


def test_the_plan_of_a_window_has_the_lakes_state_which_changes_with_any_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "publish", lambda lake: iter(()))
    for name in ("day=2013-01-01.parquet", "events/a/day=2012-12-31.parquet"):
        files.write(str(tmp_path / name), b"one")

    def state() -> str:
        planned = plan(str(tmp_path), "2013-01-01", "2013-01-31", "")
        assert planned[:2] == (date(2013, 1, 1), date(2013, 1, 31))
        return planned.data

    first = state()
    assert state() == first
    files.write(str(tmp_path / "events/a/day=2012-12-31.parquet"), b"two")
    second = state()
    (tmp_path / "day=2013-01-01.parquet").rename(tmp_path / "day=2013-01-02.parquet")
    assert len({first, second, state()}) == 3


@pytest.mark.parametrize(
    ("as_of", "until"),
    [
        ("2013-05-03T03:59:59Z", "2013-04-30"),  # a minute to midnight where the days are; the outcomes take one more
        ("2013-05-03T04:00:00Z", "2013-05-01"),
        ("2013-05-03T00:00:00-04:00", "2013-05-01"),
    ],
)
def test_a_plan_as_of_a_moment_ends_on_the_newest_day_whose_outcomes_were_all_known(as_of: str, until: str) -> None:
    since, last = matured(as_of)
    assert str(last) == until
    assert (last - since).days + 1 == framing().retraining.window_days


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
