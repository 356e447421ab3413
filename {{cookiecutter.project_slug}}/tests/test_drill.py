"""A drill's faults change what they say and nothing else, its door judges as the chart's rules do; it finds them."""

from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import configured, copy_of_bundle, ml, one_line
from pydantic import ValidationError

from ml.contract.framing import framing
from ml.contract.schema import columns, record_type
from ml.drill.door import Door
from ml.drill.drill import drill
from ml.drill.faults import FAULTS, Fault
from ml.drill.stage import Stage, midnight
from ml.errors import ContractError
from ml.features.table import GROUPS, json_of_frame
from ml.problem import source

BEFORE, ONSET = date(2013, 5, 14), date(2013, 5, 15)
TARGET = framing().task.positive
WEEK, HOUR = np.timedelta64(7, "D"), np.timedelta64(1, "h")
NOON = np.datetime64("2013-05-15T12:00", "s")


@pytest.fixture(scope="module")
def day(lake: str) -> pd.DataFrame:
    """The records of a day."""
    return source.read(lake, ONSET)


def made(name: str, day: pd.DataFrame) -> tuple[Fault, pd.DataFrame]:
    """Return a fault, and what it makes of a day's records."""
    fault = FAULTS[name](day)
    return fault, Stage(fault, ONSET).records(ONSET, day)


def test_another_mix_keeps_all_that_is_usual_and_a_fifth_of_the_rest_each_as_it_was(day: pd.DataFrame) -> None:
    _, changed = made("covariate-drift", day)
    usual = day.origin == day.origin.mode()[0]
    assert usual[changed.index].sum() == usual.sum()
    assert (~usual[changed.index]).sum() / (~usual).sum() == pytest.approx(0.2, abs=0.05)
    pd.testing.assert_frame_equal(changed, day.loc[changed.index])


def test_another_relation_turns_a_quarter_of_the_negatives_and_leaves_the_inputs(day: pd.DataFrame) -> None:
    _, changed = made("concept-drift", day)
    pd.testing.assert_frame_equal(changed.drop(columns=TARGET), day.drop(columns=TARGET))
    assert changed[TARGET][day[TARGET] == 1].all()
    assert changed[TARGET][day[TARGET] == 0].mean() == pytest.approx(0.25, abs=0.05)


def test_a_renamed_field_is_refused_and_all_others_are_as_they_were(day: pd.DataFrame) -> None:
    fault, changed = made("schema-change", day)
    assert changed is day
    record = json_of_frame(day)[0]
    assert fault.sent is not None
    sent = fault.sent(record)
    ((gone, _),) = record.items() - sent.items()
    ((_, value),) = sent.items() - record.items()
    assert value == record[gone]
    with pytest.raises(ValidationError, match=gone):
        record_type().model_validate(sent)


@pytest.mark.parametrize("name", ["broken-feed", "silent-bug"])
def test_a_feed_is_right_before_the_onset_and_wrong_from_then_on(name: str, day: pd.DataFrame) -> None:
    fault, changed = made(name, day)
    assert changed is day
    kind, onset = GROUPS[0].events, int(midnight(ONSET).astype(np.int64))
    told = {
        each.name: np.array(["XX"] * 3, object) if each.kind == "category" else np.full(3, 30.0)
        for each in columns(kind)
    } | {"available": np.array([onset - 60, onset, onset + 60])}
    heard = Stage(fault, ONSET).events(kind, told)
    assert {field: values[0] for field, values in heard.items()} == {each: values[0] for each, values in told.items()}
    if name == "broken-feed":
        assert {len(values) for values in heard.values()} == {1}
        return
    numbers = {each.name for each in columns(kind) if each.kind == "number"}
    assert {field for field in told if (heard[field] != told[field]).any()} == numbers
    assert all((heard[field][1:] == told[field][1:] / 2).all() for field in numbers)


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_wrong_before_the_onset(name: str, day: pd.DataFrame) -> None:
    assert Stage(FAULTS[name](day), ONSET).records(BEFORE, day) is day


def page(predictions: int, broken: int = 0, missing: int = 0) -> str:
    """Return the page of a service that has counted so much."""
    return (
        f'ml_predictions_total{{bundle="a",decision="true"}} {predictions}\n'
        f"ml_broken_records_total {broken}\n"
        f'ml_contract_breaches_total{{field="seats",kind="missing"}} {broken}\n'
        f'ml_missing_values_total{{feature="seats"}} {missing}\n'
    )


@pytest.mark.parametrize(("sent", "broken", "raised"), [(100, 100, True), (100, 4, False), (8, 8, False)])
def test_many_broken_records_are_told_with_their_field(sent: int, broken: int, raised: bool) -> None:
    door = Door()
    door.look(NOON, page(0))
    door.look(NOON + HOUR, page(sent - broken, broken))
    assert [each.alert for each in door.raised] == ["ContractBroken"] * raised
    assert all("seats missing" in each.says and each.at == NOON + HOUR for each in door.raised)


@pytest.mark.parametrize(("then", "raised"), [(10, True), (180, False)])
def test_a_feature_is_missing_only_where_it_was_not_at_the_same_time_a_week_ago(then: int, raised: bool) -> None:
    door = Door()
    door.look(NOON - WEEK, page(0))
    door.look(NOON - WEEK + HOUR, page(200, missing=then))
    door.look(NOON - HOUR * 25, page(2000, missing=200))
    door.look(NOON, page(2000, missing=200))
    door.look(NOON + HOUR, page(2200, missing=380))
    assert [each.alert for each in door.raised] == ["FeatureMissing"] * raised


def test_a_fault_that_nobody_knows_and_a_store_without_a_bundle_are_told_in_one_line(tmp_path: Path) -> None:
    with configured(ML_STORE_URL=tmp_path):
        with pytest.raises(ContractError, match="Choose of covariate-drift"):
            drill(["flood"], None)
        with pytest.raises(ContractError, match="ml pipeline run"):
            drill([], None)
    for words in (("--since", "2013-05-01"), ("--season", "concept-drift")):
        assert "only a season begins on a day" in one_line(ml("drill", *words, ML_STORE_URL=tmp_path))


def test_a_bundle_is_not_drilled_on_days_that_it_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = {"fit": {"span": ["2013-01-01", "2013-03-05"]}, "test": {"days": ["2013-03-31"]}}
    found = SimpleNamespace(digest="a" * 64, manifest=trained)
    monkeypatch.setattr("ml.drill.drill.whole", lambda store, digest: found)
    with (
        configured(ML_STORE_URL=tmp_path, ML_DRILL_SINCE="2013-03-31"),
        pytest.raises(ContractError, match="trained on days up to 2013-03-31, and the drill begins on 2013-03-31"),
    ):
        drill([], None)


@pytest.mark.slow
def test_a_drill_finds_other_outcomes_and_a_renamed_field_and_touches_no_other_environment(
    bundle: tuple[str, str], lake: str, tmp_path: Path
) -> None:
    copy_of_bundle(bundle, tmp_path)
    few = {"ML_DRILL_CALM_DAYS": 7, "ML_DRILL_DAYS": 3}
    ran = ml("drill", "concept-drift", "schema-change", ML_STORE_URL=tmp_path, ML_DATA_URL=lake, **few)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = (tmp_path / "reports/drill/drill.md").read_text()
    assert "| concept-drift | ModelPerformance | " in told
    assert "| schema-change | ContractBroken | " in told
    assert "carrier missing" in told
    assert "Retraining: train, because" in told
    assert (tmp_path / "reports/drill/concept-drift.html").exists()
    for folder in ("events", "labels", "profiles", "reports"):
        assert [each.name for each in (tmp_path / folder).iterdir()] == ["drill"]
