"""The search for a rung's parameters: goes on where it stopped, never makes worse, sees no day that decides."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from optuna.trial import FrozenTrial, TrialState

from ml.contract.framing import framing
from ml.errors import ContractError
from ml.features.rows import Rows, from_parquet, records_of, rows_of, to_parquet
from ml.features.table import Inputs
from ml.models.space import Real
from ml.problem.models import SPACES
from ml.training import fitted, rungs
from ml.training import tune as tuning
from ml.training.train import train
from ml.training.window import split

(PARAMETER,) = SPACES["logistic"]
OTHER = """# by hand

[lightgbm]
loss = 0.25
untuned = 0.5
trials = 3
days = ["2013-01-01", "2013-01-31"]

[lightgbm.parameters]
lgbmclassifier__num_leaves = 5
lgbmclassifier__learning_rate = 1e-05
"""

Search = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def table(lake: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training table of six weeks, of which every 25th record."""
    days = pd.date_range("2013-01-01", "2013-02-11").date.tolist()
    path = tmp_path_factory.mktemp("tune") / "table.parquet"
    path.write_bytes(to_parquet(rows_of(records_of(lake, days).iloc[::25])))
    return path


@pytest.fixture
def tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is read and written instead of the project's, with the table of another rung."""
    file = tmp_path / "tuned.toml"
    file.write_text(OTHER)
    for module in (tuning, rungs):
        monkeypatch.setattr(module, "TUNED", file)
    return file


@pytest.fixture
def search(table: Path, tuned: Path, tmp_path: Path) -> Search:
    """Search the logistic rung, and return what was written for it."""

    def run(trials: int, *, of: Path = table, study: str = "", seed: int = 1, seconds: float | None = None) -> Any:
        (tmp_path / f"studies{study}").mkdir(exist_ok=True)
        tuning.tune(of, "logistic", seed, 1, trials, seconds, tmp_path / f"studies{study}")
        return tomllib.loads(tuned.read_text())["logistic"]

    return run


@pytest.fixture
def tried(table: Path, tmp_path: Path) -> Callable[[], list[FrozenTrial]]:
    """Return the trials of the study so far."""
    return lambda: tuning._study("logistic", table, 1, tmp_path / "studies").trials


def set_by_hand(tuned: Path, value: float) -> None:
    tuned.write_text(f"{OTHER}\n[logistic.parameters]\n{PARAMETER} = {value}\n")


def test_run_again_it_adds_what_is_missing_and_keeps_what_it_tried(search: Search, tried: Any) -> None:
    assert search(2)["trials"] == 2
    first = tried()
    found = search(4)
    assert found["trials"] == len(tried()) == 4
    assert tried()[:2] == first
    assert len({trial.params[PARAMETER] for trial in tried()}) == 4
    assert search(3) == found
    assert len(tried()) == 4


def test_the_same_seed_finds_the_same(search: Search, tuned: Path) -> None:
    ours = search(4, study="one")
    tuned.write_text(OTHER)
    assert search(4, study="two") == ours
    tuned.write_text(OTHER)
    assert search(4, study="three", seed=2) != ours


def test_it_stops_when_its_seconds_are_over(search: Search) -> None:
    assert search(50, seconds=0.001)["trials"] == 1


@pytest.mark.filterwarnings("ignore:Fixed parameter:UserWarning")  # it has what the space does not hold
def test_what_the_rung_has_now_is_tried_first_and_nothing_worse_is_written(
    search: Search, tried: Any, tuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_by_hand(tuned, 0.02)
    monkeypatch.setattr(tuning, "SPACES", {"logistic": {PARAMETER: Real(1e-12, 1e-11, log=True)}})
    found = search(3)
    assert tried()[0].params == found["parameters"] == {PARAMETER: 0.02}
    assert found["loss"] == found["untuned"] == tried()[0].value < min(trial.value for trial in tried()[1:])


@pytest.mark.filterwarnings("ignore:Fixed parameter:UserWarning")
def test_what_was_set_by_hand_between_two_runs_is_tried_before_it_is_overwritten(
    search: Search, tried: Any, tuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "SPACES", {"logistic": {PARAMETER: Real(1e-12, 1e-11, log=True)}})
    set_by_hand(tuned, 1e-12)
    search(2)
    set_by_hand(tuned, 0.02)
    assert search(2)["parameters"] == {PARAMETER: 0.02}
    assert [trial.params[PARAMETER] for trial in tried()].index(0.02) == 2


def test_a_search_that_was_interrupted_in_its_first_trial_begins_again(
    search: Search, tuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "later_days", interrupted)
        with pytest.raises(KeyboardInterrupt):
            search(2)
    assert tuned.read_text() == OTHER
    found = search(2)
    assert found["trials"] == 2
    assert found["loss"] <= found["untuned"]


def test_test_days_and_frozen_days_change_nothing(table: Path, search: Search, tuned: Path, tmp_path: Path) -> None:
    ours = search(3)
    whole = from_parquet(table)
    hidden = ~np.isin(whole.days, np.unique(split(whole)["fit"].days))
    assert len(np.unique(whole.days[hidden])) == framing().time.test_days + 7
    numbers = np.where(hidden[:, None], np.float32(7), whole.inputs.numbers)
    inputs = Inputs(numbers, np.where(hidden[:, None], "poison", whole.inputs.categories))
    outcomes = np.where(hidden, 1 - whole.outcomes, whole.outcomes)
    poisoned = tmp_path / "poisoned.parquet"
    poisoned.write_bytes(to_parquet(Rows(inputs, outcomes, whole.days, whole.keys)))
    tuned.write_text(OTHER)
    assert search(3, of=poisoned) == ours
    assert len(list((tmp_path / "studies").glob("logistic-*"))) == 2  # it did search anew


def test_a_rungs_table_is_replaced_and_the_others_stay(search: Search, tuned: Path) -> None:
    search(1)
    search(2)
    tables = tomllib.loads(tuned.read_text())
    assert tables.pop("logistic")["trials"] == 2
    assert tables == tomllib.loads(OTHER)
    assert tuned.read_text().startswith("# Found by `ml tune`")


def test_a_rung_without_a_space_is_refused(table: Path, tuned: Path, tmp_path: Path) -> None:
    said = r"^ladder: constant has nothing to tune, only logistic, lightgbm, network have\. Edit ml/problem/models\.py$"
    with pytest.raises(ContractError, match=said):
        tuning.tune(table, "constant", 1, 1, 2, None, tmp_path)
    assert tuned.read_text() == OTHER


def test_training_reads_what_was_found_and_comes_to_the_same_loss(table: Path, search: Search, tmp_path: Path) -> None:
    found = search(3)
    assert found["parameters"] != {PARAMETER: rungs.ladder(1, 1)["logistic"].get_params()[PARAMETER]}
    train(table, tmp_path / "models", "logistic", seed=1, threads=1)
    ((made, _),) = fitted.read([tmp_path / "models"])
    assert made.parameters == found["parameters"]
    assert made.loss == found["loss"]


def test_a_hopeless_trial_ends_after_its_first_fold(
    search: Search, tried: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = search(tuning.EQUALLY_GOOD)
    monkeypatch.setattr(tuning, "SPACES", {"logistic": {PARAMETER: Real(1e-12, 1e-11, log=True)}})
    found = search(tuning.EQUALLY_GOOD + 1)
    assert [trial.state for trial in tried()] == [TrialState.COMPLETE] * tuning.EQUALLY_GOOD + [TrialState.PRUNED]
    assert len(tried()[-1].intermediate_values) == 1
    assert found == before | {"trials": len(tried())}
