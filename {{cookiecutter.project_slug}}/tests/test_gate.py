"""The gate: models that were built to be rejected are, each by the right check; models that must pass do."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Ran, copy_of_bundle, ml, one_line
from gate_bundles import (
    Workshop,
    backwards,
    big,
    hungry,
    leaking,
    relabelled,
    slow,
    together,
)
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from ml.contract import bundle as bundles
from ml.contract import ledger
from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.contract.verdict import Verdict, folder
from ml.errors import ContractError
from ml.features.table import CATEGORIES, NAMES, NUMBERS
from ml.gate.case import case
from ml.gate.gate import asked, gate
from ml.models.skew import Skewed
from ml.problem.models import ladder
from ml.training.calibrate import Calibration

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workshop(bundle: tuple[str, str], lake: str, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    store = tmp_path_factory.mktemp("judged")
    copy_of_bundle(bundle, store)
    return Workshop(str(store), bundle[1], lake)


def answers(workshop: Workshop, challenger: Bundle, champion: Bundle | None = None, **how: object) -> dict[str, str]:
    """Return every check's answer on a challenger, against the registered bundle."""
    simplest = challenger.manifest["baseline"]
    judged = case(
        workshop.lake,
        champion or workshop.champion,
        challenger,
        how.get("until"),  # type: ignore[arg-type]
        bool(how.get("better")),
        bundles.load(workshop.store, simplest) if simplest else None,
    )
    return {check.name: check.answer for found in asked(judged) for check in [found(judged)]}


def not_passed(found: dict[str, str]) -> set[str]:
    return {name for name, answer in found.items() if answer != "pass"}


# Models that must be rejected.


def test_a_model_trained_on_a_leak_is_rejected(workshop: Workshop) -> None:
    found = answers(workshop, workshop.trained(leaking(workshop.fit, "distance")))
    assert found["leakage"] == "fail"
    assert found["primary"] == "fail"  # what it learned is not there when it counts


def test_a_model_of_down_sampled_negatives_without_the_correction_is_rejected(workshop: Workshop) -> None:
    """One negative in fifty was kept, and nothing moves the scores back: the odds are fifty times too high."""
    balanced = Skewed(ladder(1, 1)["logistic"], keep=0.02, seed=1).fit(workshop.fit.frame, workshop.fit.outcomes)
    uncorrected = workshop.sealed(balanced.estimator_, workshop.fit)
    found = answers(workshop, uncorrected, until=date(2013, 5, 31))
    assert found["calibration"] == "fail"


def test_an_over_confident_model_is_rejected(workshop: Workshop) -> None:
    found = answers(
        workshop, workshop.trained(workshop.fit, calibration=Calibration(8.0, 14.0)), until=date(2013, 5, 31)
    )
    assert found["calibration"] == "fail"


def test_a_model_that_is_better_on_average_and_bad_on_one_slice_is_rejected_by_that_slice(workshop: Workshop) -> None:
    carriers = workshop.fit.inputs.categories[:, [feature.name for feature in CATEGORIES].index("carrier")]
    bad = workshop.trained(relabelled(workshop.fit, carriers == "WN", rate=0.6))
    simplest = bundles.load(workshop.store, workshop.champion.manifest["baseline"])
    judged = case(workshop.lake, simplest, bad, date(2013, 6, 15), False)
    checks = {check.name: check for found in asked(judged) for check in [found(judged)]}
    assert checks["primary"].intervals[0].value < 0
    assert {name for name, check in checks.items() if check.answer == "fail"} == {"slices"}
    assert [each.of for each in checks["slices"].intervals if each.answer == "fail"] == ["carrier WN"]


@pytest.mark.parametrize(("burden", "check"), [(slow, "cpu"), (big, "size"), (hungry, "memory")])
def test_a_model_that_costs_too_much_to_run_is_rejected(workshop: Workshop, burden, check: str) -> None:
    found = answers(workshop, workshop.burdened(burden))
    assert found[check] == "fail"
    assert not_passed(found) <= {"cpu", "size", "memory"}


def test_a_model_of_data_that_failed_its_checks_is_rejected(workshop: Workshop) -> None:
    found = answers(workshop, workshop.made(data_checks={"rules": 56, "broken": 3, "rows": 80_000}))
    assert not_passed(found) == {"data"}
    assert not_passed(answers(workshop, workshop.made(data_checks={}))) == {"data"}


@pytest.mark.parametrize("lost", ["tree", "locks", "data"])
def test_a_model_that_cannot_be_made_again_is_rejected(workshop: Workshop, lost: str) -> None:
    came = workshop.champion.manifest["provenance"]
    assert not_passed(answers(workshop, workshop.made(provenance={**came, lost: None}))) == {"provenance"}


def test_a_model_whose_claims_do_not_come_out_again_is_rejected(workshop: Workshop) -> None:
    told = json.loads(json.dumps(workshop.champion.manifest["ladder"]))
    told[workshop.champion.rung]["test"]["log_loss"]["value"] -= 0.001
    assert not_passed(answers(workshop, workshop.made(ladder=told))) == {"reproduction"}


def test_the_champion_itself_claimed_to_be_better_is_rejected(workshop: Workshop) -> None:
    found = answers(workshop, workshop.champion, better=True)
    assert found["better"] == "fail"
    assert not_passed(found) == {"better"}


def test_a_model_that_memorised_the_test_days_is_rejected_however_good_it_looks(workshop: Workshop) -> None:
    frozen = case(workshop.lake, workshop.champion, workshop.champion, None, False).frozen.rows
    numbers, all_places = len(NUMBERS), list(range(len(NAMES)))
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    kinds = [("numbers", "passthrough", all_places[:numbers]), ("categories", codes, all_places[numbers:])]
    trees = ladder(1, 1)["lightgbm"][-1].set_params(
        n_estimators=300, num_leaves=127, min_child_samples=1, reg_lambda=0.0, learning_rate=0.1, colsample_bytree=1.0
    )
    memorised = workshop.trained(together(workshop.test, frozen), make_pipeline(ColumnTransformer(kinds), trees))
    found = answers(workshop, memorised, better=True)
    assert (found["primary"], found["better"], found["frozen"]) == ("pass", "pass", "pass")
    assert found["overlap"] == "fail"
    # A lie about the days does not help: the hashes of its records tell.
    days = bundles.dump({"days": workshop.champion.fitted_on["days"], "keys": memorised.fitted_on["keys"]})
    liar = _with_core(workshop, memorised, {"fitted_on.json": days})
    assert answers(workshop, liar)["overlap"] == "fail"
    # On days that nobody could have memorised, it is what it is.
    assert answers(workshop, memorised, until=date(2013, 5, 31))["primary"] == "fail"


def test_days_before_those_that_a_model_was_fitted_on_decide_nothing(workshop: Workshop) -> None:
    later = workshop.trained(workshop.test)
    assert answers(workshop, later, until=date(2013, 2, 28))["overlap"] == "fail"


def test_a_model_that_does_not_say_what_it_was_fitted_on_is_rejected(workshop: Workshop) -> None:
    nothing = bundles.dump({"days": [], "keys": []})
    silent = _with_core(workshop, workshop.champion, {"fitted_on.json": nothing})
    assert not_passed(answers(workshop, silent)) == {"overlap"}


def test_a_model_whose_parameters_were_tuned_on_the_days_that_decide_is_rejected(workshop: Workshop) -> None:
    told = json.loads(json.dumps(workshop.champion.manifest["ladder"]))
    told[workshop.champion.rung]["tuned_on"] = ["2013-01-01", "2013-03-20"]
    assert not_passed(answers(workshop, workshop.made(ladder=told))) == {"overlap"}


def test_a_model_that_acts_from_another_score_on_than_the_costs_say_is_rejected(workshop: Workshop) -> None:
    assert "reproduction" in not_passed(answers(workshop, workshop.made(threshold=0.3)))


def test_scores_that_are_no_probabilities_are_no_verdict(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = bundles.load(workshop.store, workshop.champion.digest)
    monkeypatch.setattr(broken.scorer, "score", lambda inputs: np.full(len(inputs.numbers), np.nan))
    with pytest.raises(ContractError, match=r"golden records of .* do not score as when it was made"):
        broken.replay_golden()
    monkeypatch.setattr(Bundle, "replay_golden", lambda self: 64)
    with pytest.raises(ContractError, match="scores some rows with no probability"):
        case(workshop.lake, workshop.champion, broken)


def test_against_a_champion_that_was_fitted_on_the_days_nothing_is_decided(workshop: Workshop) -> None:
    unfair = workshop.trained(together(workshop.fit, workshop.test))
    assert answers(workshop, workshop.champion, champion=unfair)["overlap"] == "inconclusive"


def test_a_model_that_has_learned_the_day_backwards_is_rejected(workshop: Workshop) -> None:
    assert answers(workshop, workshop.trained(backwards(workshop.fit)))["behaviour"] == "fail"


def test_a_model_that_changes_too_many_decisions_is_rejected(workshop: Workshop) -> None:
    assert answers(workshop, workshop.trained(workshop.fit, calibration=Calibration(1.0, 2.0)))["churn"] == "fail"


# Models that must pass.


def test_the_registered_model_passes_against_the_simplest_rung(workshop: Workshop) -> None:
    simplest = bundles.load(workshop.store, workshop.champion.manifest["baseline"])
    found = answers(workshop, workshop.champion, champion=simplest)
    assert "churn" not in found
    assert not_passed(found) == set()


def test_a_model_that_is_as_good_passes_and_is_not_taken_for_better(workshop: Workshop) -> None:
    twin = workshop.trained(workshop.fit, ladder(1, 1)["logistic"].set_params(logisticregression__C=0.0005))
    found = answers(workshop, twin)
    assert not_passed(found) == set()
    assert answers(workshop, twin, better=True)["better"] != "pass"


def test_any_two_bundles_can_be_judged_and_the_simplest_rung_loses_to_the_champion(workshop: Workshop) -> None:
    simplest = bundles.load(workshop.store, workshop.champion.manifest["baseline"])
    assert answers(workshop, simplest, champion=workshop.champion, better=True)["better"] == "fail"


# The verb.


def judged(workshop: Workshop, *words: object, folder: Path | None = None) -> Ran:
    return ml("gate", *words, ML_STORE_URL=workshop.store, ML_RELEASE_FOLDER=folder or Path(workshop.store) / "none")


def test_the_exit_code_says_pass_fail_inconclusive_or_no_verdict(workshop: Workshop) -> None:
    champion, unfair = workshop.champion.digest, workshop.trained(together(workshop.fit, workshop.test)).digest
    assert judged(workshop, "--challenger", champion).returncode == 0
    failed = judged(workshop, "--champion", champion[:12], "--challenger", champion[:12], "--better")
    assert failed.returncode == 10
    assert failed.stdout.startswith("gate      fail: ")
    assert judged(workshop, "--champion", unfair, "--challenger", champion).returncode == 11
    assert "0 bundles begin with 'ffff'" in one_line(judged(workshop, "--champion", "ffff"))


def test_a_waiver_lets_pass_until_its_day_and_then_fails(workshop: Workshop, tmp_path: Path) -> None:
    bad = workshop.made(data_checks={"rules": 56, "broken": 3, "rows": 80_000})
    file = tmp_path / "laptop" / "waivers.toml"
    file.parent.mkdir()
    waiver = '[[waiver]]\ncheck = "{}"\nowner = "Ada"\nreason = "Known gap, being filled."\nexpires = {}\n'

    def run(check: str, expires: str) -> Ran:
        file.write_text(waiver.format(check, expires))
        words = ("--champion", workshop.champion.digest, "--challenger", bad.digest)
        return judged(workshop, *words, folder=tmp_path)

    waived = run("data", "2999-01-01")
    assert waived.returncode == 0
    assert "waived by Ada" in waived.stdout
    expired = run("data", "2013-04-01")
    assert expired.returncode == 10
    assert "Ada's for data expired on 2013-04-01" in expired.stdout
    assert "there is no check 'dta' to waive" in one_line(run("dta", "2999-01-01"))
    assert run("churn", "2999-01-01").returncode == 10  # waives what it names, and nothing else
    file.write_text('[[waiver]]\ncheck = "data"\nreason = "None."\nexpires = 2999-01-01\n')
    line = one_line(judged(workshop, "--challenger", bad.digest, folder=tmp_path))
    assert line.endswith("waivers.toml: waiver.0.owner: Field required. Edit it")


def test_the_verdict_says_everything_that_decided_and_the_page_shows_it(workshop: Workshop) -> None:
    verdict = gate(workshop.lake, workshop.store, None, workshop.champion.digest)
    assert gate(workshop.lake, workshop.store, None, workshop.champion.digest).attempts == verdict.attempts + 1
    verdict = gate(workshop.lake, workshop.store, None, workshop.champion.digest)
    home = Path(folder(workshop.store, verdict.challenger.bundle, verdict.champion.bundle))
    assert Verdict.model_validate_json((home / "verdict.json").read_text()) == verdict
    assert verdict.claim == "better"
    assert verdict.champion.rung == "constant"
    assert verdict.recent.days == framing().time.test_days
    assert verdict.frozen.days == len(framing().frozen.days)
    assert {"log_loss", "cost", "ece", "slope", "f1"} <= verdict.challenger.recent.keys()
    page = (home / "gate.html").read_text()
    assert all(check.name in page for check in verdict.checks)


def test_the_ledger_counts_the_models_that_were_shown_the_frozen_test_set(workshop: Workshop) -> None:
    before = ledger.count(workshop.store, "frozen-test-set")
    new = workshop.trained(workshop.fit, ladder(1, 1)["logistic"].set_params(logisticregression__C=0.003))
    for _ in range(2):  # the same model again is no new use
        found = gate(workshop.lake, workshop.store, workshop.champion.digest, new.digest)
        assert found.frozen_uses == before + 1


def test_of_many_who_write_the_same_record_one_wins(tmp_path: Path) -> None:
    program = "import sys; from ml.contract import ledger; print(ledger.once(sys.argv[1], 'book', 'name', {}))"
    command = [sys.executable, "-c", program, str(tmp_path)]
    started = [subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, text=True, cwd=ROOT) for i in range(4)]
    said = [process.communicate()[0].strip() for process in started]
    assert sorted(said) == ["False", "False", "False", "True"]
    assert ledger.count(str(tmp_path), "book") == 1


def test_a_feature_that_looks_into_later_records_is_found(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    from ml.features import table
    from ml.gate.evidence import time_travel

    recent = case(workshop.lake, workshop.champion, workshop.champion, None, False).recent
    assert time_travel(recent) == []
    whole = table.inputs

    def centred(records: dict[str, np.ndarray]) -> table.Inputs:
        found = whole(records)
        place = NAMES.index("distance")
        found.numbers[:, place] -= found.numbers[:, place].mean()
        return found

    monkeypatch.setattr("ml.features.rows.inputs", centred)
    ahead = case(workshop.lake, workshop.champion, workshop.champion, None, False).recent
    assert time_travel(ahead) == ["distance"]


def _with_core(workshop: Workshop, base: Bundle, changed: dict[str, bytes]) -> Bundle:
    home = Path(bundles.folder(workshop.store, base.digest))
    core = {name: (home / name).read_bytes() for name in bundles.CORE} | changed
    return bundles.load(workshop.store, bundles.save(workshop.store, core, {}))
