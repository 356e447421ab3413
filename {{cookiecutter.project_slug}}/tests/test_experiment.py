"""Verdicts on experiments: what each mode claims, what breaks it, and who is told: a person, a page, a rollout."""

import json
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import configured, ml
from experiment_frames import BUNDLES, Model, labelled, mirrored
from test_pages import loaded

from ml.contract import release
from ml.contract.events import SHADOWS, TABLES
from ml.contract.framing import framing
from ml.contract.release import Arm, Experiment, Mode, Release
from ml.errors import ContractError
from ml.eventlog.log import EventLog
from ml.experiment import listen
from ml.experiment.analysis import of_arms, of_shadow
from ml.experiment.experiment import experiment, judge_running
from ml.experiment.plan import Plan, plan
from ml.experiment.report import render
from ml.experiment.served import served
from ml.experiment.verdict import Verdict
from ml.settings import settings
from ml.statistics.clusters import difference
from ml.store import partitions

HALVES = {"new": 50.0, "champion": 50.0}
USUAL, BETTER, WORSE = Model(), Model(skill=2.2), Model(skill=0.5)
SMALL = framing().experiment.entities // 2


def two(new: Model, share: float = 50, **more: Any) -> pd.DataFrame:
    return labelled({"new": (share, new), "champion": (100 - share, USUAL)}, **more)


def judge(rows: pd.DataFrame, mode: Mode = "canary", shares: dict[str, float] | None = HALVES) -> Verdict:
    return of_arms(Plan("trial", mode, shares), rows)


def shadowed(model: Model, outcomes: bool = True, **more: Any) -> Verdict:
    shadow, rows = mirrored(model, **more)
    return of_shadow(Plan("trial", "shadow", None), shadow, rows if outcomes else rows[:0])


def answers(found: Verdict, arm: str = "new") -> dict[str, str]:
    compared = next(each for each in found.comparisons if each.arm == arm)
    return {check.name: check.answer for check in (*found.split, *compared.checks)}


@pytest.fixture(scope="module")
def equal() -> pd.DataFrame:
    return two(USUAL, a_day=2)


def test_an_arm_as_good_as_the_champion_passes_as_canary_and_not_as_better(equal: pd.DataFrame) -> None:
    found = judge(equal)
    assert (found.verdict, set(answers(found).values())) == ("pass", {"pass"})
    assert found.reasons[0].startswith("new, primary: cost, challenger minus champion: ")
    assert (found.since, found.until, found.days) == ("2024-03-18", "2024-04-14", 28)
    assert judge(equal, "ab").verdict == "inconclusive"


def test_a_better_arm_passes_as_better_and_a_worse_one_fails_as_canary() -> None:
    better, worse = two(BETTER), two(WORSE)
    assert answers(judge(better, "ab"))["primary"] == "pass"
    assert judge(better, "ab").verdict == "pass"
    assert answers(judge(worse))["primary"] == answers(judge(worse))["metric"] == "fail"
    assert judge(worse).verdict == "fail"


def test_in_a_holdout_it_is_the_champion_that_has_to_be_better_in_cost_alone() -> None:
    held_out = two(replace(WORSE, seconds=0.1))
    assert answers(judge(held_out, "holdout")) == {"split": "pass", "crossed": "pass", "primary": "pass"}
    assert judge(two(BETTER), "holdout").verdict == "fail"


def test_each_guardrail_fails_alone() -> None:
    slow = judge(two(replace(USUAL, seconds=0.05), a_day=2))
    assert [name for name, answer in answers(slow).items() if answer == "fail"] == ["latency"]
    failing = judge(two(replace(USUAL, fails=0.06), a_day=2))
    assert [name for name, answer in answers(failing).items() if answer == "fail"] == ["fallbacks"]
    assert failing.verdict == "fail"
    assert failing.reasons[0].startswith("new, fallbacks: ")


def test_a_slower_model_within_the_budget_passes() -> None:
    assert answers(judge(two(replace(USUAL, seconds=0.012), a_day=2)))["latency"] == "pass"


def test_a_broken_split_fails_everything_and_says_so(equal: pd.DataFrame) -> None:
    found = judge(equal, shares={"new": 42.0, "champion": 58.0})
    assert set(answers(found).values()) == {"fail", "pass"}
    assert {name for name, answer in answers(found).items() if answer == "pass"} == {"crossed"}
    assert len(found.reasons) == 1
    assert "the split is broken, trust nothing" in found.reasons[0]


def test_the_split_is_of_entities_and_not_of_requests(equal: pd.DataFrame) -> None:
    """The challenger's busiest entities ask five times as often: no fault of the split."""
    busy = equal[(equal.arm == "new") & (equal.entity < f"{200:016x}")]
    rows = pd.concat([equal, *[busy] * 4], ignore_index=True)
    assert (rows.arm == "new").sum() > 1.3 * (rows.arm == "champion").sum()
    assert answers(judge(rows))["split"] == "pass"


def test_an_entity_in_two_arms_fails_everything(equal: pd.DataFrame) -> None:
    rows = equal.copy()
    rows.loc[rows.index[-1], "arm"] = {"new": "champion", "champion": "new"}[str(rows.arm.iloc[-1])]
    found = judge(rows)
    assert {name for name, answer in answers(found).items() if answer == "pass"} == {"split"}
    assert "1 of 1,19" in found.reasons[0]


def test_a_past_experiment_is_judged_without_its_split_and_that_is_said(equal: pd.DataFrame) -> None:
    found = judge(equal, shares=None)
    assert "split" not in answers(found)
    assert "planned shares are not known" in found.notes[0]


def test_too_few_entities_decide_nothing() -> None:
    found = judge(two(WORSE, entities=2 * SMALL))
    assert set(answers(found).values()) - {"pass"} == {"inconclusive"}
    assert "Too early: " in " ".join(found.reasons)
    nobody = two(USUAL, days=1)
    assert nobody[nobody.arm.notna()].outcome.isna().all()
    found = judge(nobody)
    assert answers(found)["primary"] == "inconclusive"
    assert "too early: fewer than two entities" in " ".join(found.reasons)
    assert found.comparisons[0].sequence == []


def test_too_few_positives_decide_nothing_about_cost(equal: pd.DataFrame) -> None:
    """Where nothing has happened yet, nothing has cost anything, and that is no proof."""
    rows = equal.assign(outcome=equal.outcome.where(equal.outcome.isna(), 0.0), decision=False)
    found = judge(rows)
    assert answers(found)["primary"] == answers(found)["metric"] == "inconclusive"
    assert "Too early: 0 positives, slices.positives asks for 30" in found.reasons[0]
    shadow, served_rows = mirrored(USUAL)
    quiet = of_shadow(Plan("trial", "shadow", None), shadow, served_rows.assign(outcome=0.0))
    assert answers(quiet)["primary"] == answers(quiet)["metric"] == "inconclusive"


def test_models_that_decide_alike_are_not_told_apart_by_rounding(equal: pd.DataFrame) -> None:
    """All that nobody's decision costs is explained by the outcomes."""
    found = judge(equal.assign(decision=False), "ab").comparisons[0].checks[0]
    assert found.intervals[0].value == 0.0
    assert found.answer != "pass"


def test_each_of_several_arms_is_judged_against_the_champion_alone() -> None:
    arms = {"new": (30.0, BETTER), "other": (30.0, WORSE), "champion": (40.0, USUAL)}
    found = judge(labelled(arms), "ab", {name: share for name, (share, _) in arms.items()})
    assert {each.arm: each.answer for each in found.comparisons} == {"new": "pass", "other": "fail"}
    assert found.verdict == "fail"
    assert [side.arm for side in found.arms] == ["champion", "new", "other"]
    assert [side.bundles for side in found.arms] == [[BUNDLES[arm]] for arm in ("champion", "new", "other")]


def test_the_past_and_the_outcomes_take_variance_away_and_rows_of_elsewhere_are_left_out(equal: pd.DataFrame) -> None:
    found = judge(equal)
    primary = found.comparisons[0].checks[0]
    assert 0.2 < float(str(primary.evidence["variance_reduction"])) < 0.9
    stray = equal.assign(experiment="another", request_id=equal.request_id + "x", day="2024-04-20")
    stray = stray.assign(time=stray.time + pd.Timedelta(days=90), decision=True)
    nobody = stray.assign(experiment="trial", entity=None, arm=None)
    again = judge(pd.concat([equal, stray, nobody], ignore_index=True))
    assert again.comparisons == found.comparisons
    without = served(equal[equal.experiment == "trial"], "trial")
    assert len(without.before) == 0
    plain = difference(without.sums("new", "cost"), without.sums("champion", "cost"))
    assert plain.value == pytest.approx(primary.evidence["value_unadjusted"])


def test_the_last_point_of_the_sequence_is_the_verdicts(equal: pd.DataFrame) -> None:
    compared = judge(equal).comparisons[0]
    last, decided = compared.sequence[-1], compared.checks[0].intervals[0]
    assert (last.value, last.low, last.high) == pytest.approx((decided.value, decided.low, decided.high))
    assert len(compared.sequence) == 27  # the last day's outcomes have not come


def test_who_is_assigned_to_an_arm_counts_there_whoever_answered(equal: pd.DataFrame) -> None:
    rows = equal.copy()
    rows.loc[rows.arm == "new", "fallback"] = "constant"
    found = judge(rows)
    assert answers(found)["fallbacks"] == "fail"
    assert next(side for side in found.arms if side.arm == "new").fallbacks == 1.0


def test_a_shadow_that_answers_alike_passes_with_outcomes_and_without() -> None:
    found = shadowed(Model(skill=1.45))
    assert answers(found) == dict.fromkeys(("flips", "errors", "primary", "metric"), "pass")
    early = shadowed(Model(skill=1.45), outcomes=False)
    assert (early.verdict, set(answers(early))) == ("pass", {"flips", "errors"})
    assert "no outcome has come" in early.notes[0]
    assert [point.day for point in early.comparisons[0].sequence][-1] == found.until


@pytest.mark.parametrize(
    ("model", "failing"),
    [
        (Model(skill=0.2), {"flips", "primary", "metric"}),
        (Model(skill=1.45, fails=0.08), {"errors"}),
        (Model(skill=1.45, seconds=0.5), set()),  # it works when there is time: how quick it can be, a canary tells
    ],
    ids=["another model", "fails", "slow"],
)
def test_a_shadow_fails_by_what_is_wrong_with_it(model: Model, failing: set[str]) -> None:
    found = answers(shadowed(model, entities=1500))
    assert {name for name, answer in found.items() if answer == "fail"} == failing


def test_what_was_shed_is_no_failure_of_the_shadow() -> None:
    found = shadowed(Model(skill=1.45), shed=0.3)
    assert answers(found)["errors"] == "pass"
    facts = found.comparisons[0].facts
    assert facts["failures"]["shed"] > 1000  # type: ignore[index]
    assert facts["answered"] == facts["requests"] - facts["failures"]["shed"]  # type: ignore[index,operator]


def test_a_shadows_facts_are_those_of_its_scores() -> None:
    shadow, rows = mirrored(USUAL, days=3)
    shadow["score"] = shadow.champion_score**2
    facts = of_shadow(Plan("trial", "shadow", None), shadow, rows).comparisons[0].facts
    assert (facts["kendall"], facts["spearman"]) == pytest.approx((1, 1))
    gap = (shadow.champion_score - shadow.champion_score**2).to_numpy()
    assert facts["score_difference"] == pytest.approx(gap.mean())
    assert facts["score_difference_quantiles"]["0.9"] == pytest.approx(np.quantile(gap, 0.9))  # type: ignore[index]


def test_requests_without_an_entity_are_entities_of_their_own_in_a_shadow() -> None:
    shadow, rows = mirrored(Model(skill=1.0))
    known = of_shadow(Plan("trial", "shadow", None), shadow, rows)
    alone = of_shadow(Plan("trial", "shadow", None), shadow.assign(entity=None), rows)
    assert (known.arms[0].entities, alone.arms[0].entities) == (shadow.entity.nunique(), len(shadow))


def test_without_rows_of_both_sides_there_is_no_verdict(equal: pd.DataFrame) -> None:
    with pytest.raises(ContractError, match=r"arms seen: champion\).*Run `ml label`"):
        judge(equal[equal.arm != "new"])
    with pytest.raises(ContractError, match="trial has no shadow events"):
        of_shadow(Plan("trial", "shadow", None), pd.DataFrame(), equal)


def runs(mode: Mode, percent: float) -> None:
    """Release an experiment with the arm `new`."""
    trial = Experiment(name="trial", mode=mode, arms={"new": Arm(bundle=BUNDLES["new"], percent=percent)})
    release.write(Release(champion=BUNDLES["champion"], experiment=trial))


def test_what_is_claimed_is_settled_before_anybody_looks(tmp_path: Path) -> None:
    with configured(ML_RELEASE_FOLDER=tmp_path):
        with pytest.raises(ContractError, match="the release names none"):
            plan()
        runs("ab", 20)
        assert plan() == plan("trial") == Plan("trial", "ab", {"new": 20, "champion": 80}, release.read().plan)
        assert plan("old", "canary") == Plan("old", "canary", None)
        with pytest.raises(ContractError, match="trial was planned as ab, not canary"):
            plan("trial", "canary")
        with pytest.raises(ContractError, match=r"old is not in the release.*Add --mode: shadow, canary, ab, holdout"):
            plan("old")
        release.write(Release(champion=BUNDLES["champion"]))
        with pytest.raises(ContractError, match="the release names none"):
            plan()


def write(rows: pd.DataFrame) -> None:
    for day, part in rows.groupby("day"):
        partitions.write(settings().labels_url, date.fromisoformat(str(day)), part)


@pytest.fixture
def store(equal: pd.DataFrame, tmp_path: Path) -> Iterator[Path]:
    """A store with labelled rows, and a release that names the experiment."""
    with configured(ML_STORE_URL=tmp_path, ML_RELEASE_FOLDER=tmp_path / "environments"):
        runs("canary", 50)
        write(equal)
        yield tmp_path


def test_the_verb_leaves_a_verdict_and_a_page_that_loads_nothing(
    store: Path, equal: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    found = experiment()
    assert found.comparisons == judge(equal).comparisons, "with what entities cost before: it makes bounds narrower"
    home = store / "reports" / settings().release.environment / "experiments"
    assert Verdict.model_validate_json((home / "trial.json").read_text()) == found
    page = (home / "trial.html").read_text()
    assert loaded(page) == []
    assert page.count("<svg") == 1 + len(found.comparisons[0].checks)
    said = capsys.readouterr().out
    assert said.splitlines()[-1].startswith("experiment pass: trial, canary, 2024-03-18 to 2024-04-14; page in ")
    assert "fallbacks" in said


def test_the_verb_of_a_past_experiment_ends_with_the_verdicts_exit_code(store: Path) -> None:
    variables = {"ML_STORE_URL": store, "ML_RELEASE_FOLDER": store / "environments"}
    release.write(Release(champion=BUNDLES["champion"]))
    assert ml("experiment", "--name", "trial", "--mode", "ab", **variables).returncode == 11


def test_the_monitor_judges_what_runs_and_is_not_stopped_by_it(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = store / "reports" / settings().release.environment / "experiments" / "trial.json"
    judge_running()
    assert Verdict.model_validate_json(verdict.read_text()).name == "trial"
    verdict.unlink()
    shutil.rmtree(settings().labels_url)
    capsys.readouterr()
    judge_running()
    assert capsys.readouterr().out.startswith("experiment no verdict yet: labels: ")
    release.write(Release(champion=BUNDLES["champion"]))
    judge_running()
    assert (capsys.readouterr().out, verdict.exists()) == ("", False)


def test_a_shadow_is_judged_by_its_own_events_and_rows(tmp_path: Path) -> None:
    shadow, rows = mirrored(Model())
    earlier, older = mirrored(Model(skill=0.1), "earlier", seed=5)
    with configured(ML_STORE_URL=tmp_path, ML_RELEASE_FOLDER=tmp_path / "environments"):
        runs("shadow", 50)
        write(pd.concat([rows, older], ignore_index=True).assign(stored=False))
        for each in (earlier, shadow):
            log = EventLog(settings().spool, settings().events_url, 3600)
            log.append(SHADOWS, {name: each.assign(plan="plan")[name].tolist() for name in TABLES[SHADOWS]}, len(each))
            log.close()
        found = experiment()
    assert found.arms == of_shadow(Plan("trial", "shadow", None), shadow, rows).arms
    assert {each.requests for each in found.arms} == {len(shadow)}


def test_the_page_of_a_shadow_has_its_pictures_and_escapes_names() -> None:
    shadow, rows = mirrored(Model(skill=1.0), name="<b>old")
    found = of_shadow(Plan("<b>old", "shadow", None), shadow, rows)
    page = render(found, shadow)
    assert loaded(page) == []
    assert page.count("<svg") == 3 + len(found.comparisons[0].checks)
    assert "<b>old" not in page


@pytest.fixture
def address(store: Path) -> Iterator[str]:
    with listen.server("127.0.0.1", 0, fresh=3600) as answering:
        thread = threading.Thread(target=answering.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{answering.server_port}"
        answering.shutdown()
        thread.join()


def ask(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_rollout_is_told_the_verdict_and_not_computed_anew(address: str, store: Path) -> None:
    status, found = ask(f"{address}/v1/verdict?name=trial")
    assert (status, found["verdict"], found["name"]) == (200, "pass", "trial")
    assert found["reasons"]
    for file in store.rglob("*.parquet"):
        file.unlink()
    assert ask(f"{address}/v1/verdict?name=trial") == (200, found)
    status, unlike = ask(f"{address}/v1/verdict")  # the one that runs was not asked for by this name yet
    assert (status, set(unlike)) == (503, {"error"})


def test_a_port_that_is_taken_is_named(address: str) -> None:
    port = int(address.rpartition(":")[2])
    with pytest.raises(ContractError, match=rf"127\.0\.0\.1:{port} cannot be listened on: .*Choose another"):
        listen.listen("127.0.0.1", port)


def test_what_is_no_verdict_cannot_pass(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    status, found = ask(f"{address}/v1/verdict?name=unknown")
    assert (status, set(found)) == (503, {"error"})
    assert "unknown is not in the release" in found["error"]

    def broken(_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(listen, "judged", broken)
    assert ask(f"{address}/v1/verdict?name=other") == (503, {"error": "ZeroDivisionError: by zero"})
    assert ask(f"{address}/livez")[0] == 200
    assert ask(f"{address}/")[0] == ask(f"{address}/v1/verdicts")[0] == 404


def test_after_a_while_the_verdict_is_computed_anew(store: Path, equal: pd.DataFrame) -> None:
    answers = listen.Answers(fresh=0)
    assert answers.of("trial")[0] == 200
    rows = equal.copy()
    rows.loc[rows.arm == "new", "fallback"] = "constant"
    write(rows)
    assert json.loads(answers.of("trial")[1])["verdict"] == "fail"
