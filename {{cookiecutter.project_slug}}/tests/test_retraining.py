"""The retraining policy: what asks for a training, what holds it back, and that no alarm can make it run wild."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest
import typer
from conftest import configured
from hypothesis import given
from hypothesis import settings as within
from hypothesis import strategies as st
from promotion_evidence import OLD, OTHER, gate

from ml.contract import bundle, ledger, release, trained, verdict
from ml.contract.framing import Retraining
from ml.contract.release import Release
from ml.errors import ContractError
from ml.monitoring import attempts, retraining
from ml.monitoring.attempts import past
from ml.monitoring.policy import Act, Came, Decision, Evidence, decide, force, rejections
from ml.settings import settings
from ml.statistics.inference import Answer
from ml.store import files, partitions
from ml.verbs import watching

POLICY = Retraining(window_days=90, pause_days=14, max_age_days=180, new_labels=5000, per_week=1, rejections=2)
DAY = date(2013, 7, 21)
QUIET = Evidence(DAY, [], [], False, date(2013, 3, 31), 20_000)
ALARMED = replace(QUIET, alarms=["rate"])
WINDOW = (date(2013, 4, 23), DAY)


def before(days: int, came: Came = "pass", **more: Any) -> Act:
    return Act("train", DAY - timedelta(days=days), came, **more)


def stopped(days: int) -> Act:
    return Act("stop", DAY - timedelta(days=days), "nothing")


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (ALARMED, "rate of what was served alarms"),
        (replace(QUIET, alarms=["rate", "loss"]), "rate and loss of what was served alarm"),
        (replace(QUIET, drifted=["distance", "score"], worse=True), "2 variables drifted and the loss is estimated"),
        (replace(QUIET, trained_until=DAY - timedelta(days=181)), "the champion is 181 days old"),
    ],
)
def test_what_asks_for_a_training_gets_one_on_the_newest_days(known: Evidence, reason: str) -> None:
    decision = decide(known, [], POLICY)
    assert (decision.decision, decision.window) == ("train", WINDOW)
    assert len(decision.reasons) == 1
    assert decision.reasons[0].startswith(reason)


@pytest.mark.parametrize(
    "known",
    [
        QUIET,
        replace(QUIET, drifted=["distance"]),  # which nothing says that it hurts
        replace(QUIET, worse=True),  # which nothing explains
        replace(QUIET, trained_until=DAY - timedelta(days=180)),
        replace(ALARMED, serving=False),
    ],
)
def test_what_does_not_ask_gets_none(known: Evidence) -> None:
    assert decide(known, [], POLICY).decision == "wait"


@pytest.mark.parametrize(
    ("known", "history", "reason"),
    [
        (ALARMED, [before(13)], "13 days after the last attempt, retraining.pause_days says 14"),
        (ALARMED, [before(40), before(13, "fail")], "13 days after the last attempt"),
        (ALARMED, [before(-13)], "13 days after the last attempt"),
        (ALARMED, [before(6)], "1 attempts within seven days, retraining.per_week says 1"),
        (replace(ALARMED, new_labels=4999), [], "4,999 labels since the champion's last day"),
        (ALARMED, [before(20, "running")], "the attempt of 2013-07-01 has no verdict yet"),
    ],
)
def test_what_holds_a_training_back_is_said(known: Evidence, history: list[Act], reason: str) -> None:
    decision = decide(known, history, POLICY)
    assert (decision.decision, decision.window) == ("wait", None)
    assert any(each.startswith(reason) for each in decision.reasons), decision.reasons
    assert decision.reasons[-1] == "although rate of what was served alarms"


@pytest.mark.parametrize(
    ("known", "history"),
    [
        (ALARMED, [before(14)]),
        (replace(ALARMED, new_labels=5000), [before(28, "fail"), before(14)]),
        (ALARMED, [before(42, "fail"), before(28), before(14, "fail")]),
        (ALARMED, [before(60, "fail"), before(50, "fail"), stopped(40), before(30, "fail", forced=True)]),
    ],
)
def test_what_is_just_within_the_limits_trains(known: Evidence, history: list[Act]) -> None:
    assert decide(known, history, POLICY).decision == "train"


@pytest.mark.parametrize("came", ["fail", "inconclusive", "nothing"])
def test_two_attempts_in_a_row_that_came_to_no_good_stop_it_even_while_it_would_wait(came: Came) -> None:
    history = [before(90), before(15, "fail"), before(1, came)]
    decision = decide(ALARMED, history, POLICY)
    assert (decision.decision, decision.rejections, decision.window) == ("stop", 2, None)
    assert "say `ml retrain --force`" in decision.reasons[0]
    assert decide(QUIET, history, POLICY).decision == "wait"  # nobody is called for nothing


@pytest.mark.parametrize("known", [QUIET, ALARMED, replace(ALARMED, serving=False)])
def test_who_is_stopped_stays_so_whatever_the_verdict_says(known: Evidence) -> None:
    decision = decide(known, [before(30, "fail"), before(16, "fail"), stopped(10)], POLICY)
    assert (decision.decision, decision.rejections) == ("stop", 2)
    assert decision.reasons == ["stopped on 2013-07-11, until somebody says `ml retrain --force`"]


def test_what_somebody_forces_is_done_whatever_the_limits_and_begins_the_count_anew() -> None:
    history = [before(30, "fail"), before(16, "fail"), stopped(10)]
    assert force(DAY, POLICY) == Decision("train", ["somebody asked for it"], 0, WINDOW)
    history.append(before(0, "fail", forced=True))
    assert rejections(history) == 1
    assert decide(ALARMED, history, POLICY).decision == "wait"
    assert decide(replace(ALARMED, day=DAY + timedelta(days=14)), history, POLICY).decision == "train"


def a_year(policy: Retraining, came: Callable[[int], Came]) -> list[Act]:
    """Ask three times a day for 52 weeks of an alarm that never ends; `came` is what each attempt comes to."""
    acts: list[Act] = []
    for poll in range(3 * 364):
        known = replace(ALARMED, day=DAY + timedelta(days=poll // 3))
        decision = decide(known, acts, policy)
        if decision.decision == "train":
            acts.append(Act("train", known.day, came(len(acts))))
        elif decision.decision == "stop" and acts[-1].decision != "stop":
            acts.append(Act("stop", known.day, "nothing"))
    return acts


POLICIES = st.builds(
    Retraining,
    window_days=st.just(90),
    pause_days=st.integers(0, 30),
    max_age_days=st.just(180),
    new_labels=st.just(0),
    per_week=st.integers(1, 3),
    rejections=st.integers(1, 4),
)


@within(max_examples=15, deadline=None)
@given(policy=POLICIES)
def test_an_alarm_of_a_year_leads_to_no_more_attempts_than_the_policy_allows(policy: Retraining) -> None:
    days = [act.day for act in a_year(policy, lambda number: "pass")]
    assert 364 / max(policy.pause_days, 7) <= len(days) <= 52 * policy.per_week
    assert all((later - day).days >= policy.pause_days for day, later in pairwise(days))
    ends = zip(days, days[policy.per_week :], strict=False)
    assert all((later - day).days >= 7 for day, later in ends)


@within(max_examples=15, deadline=None)
@given(policy=POLICIES, answers=st.lists(st.sampled_from(["pass", "fail", "inconclusive", "nothing"]), max_size=8))
def test_a_gate_that_always_rejects_ends_it_after_so_many_attempts(policy: Retraining, answers: Sequence[Came]) -> None:
    acts = a_year(policy, lambda number: answers[number] if number < len(answers) else "fail")
    trainings = [act.came for act in acts if act.decision == "train"]
    if acts[-1].decision == "stop":
        assert "pass" not in trainings[-policy.rejections :]
        assert rejections(acts) == policy.rejections
    if not answers:
        assert [act.decision for act in acts] == ["train"] * policy.rejections + ["stop"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """A store with a champion of March, a week's labels, and no verdict yet."""
    with configured(ML_STORE_URL=tmp_path / "store", ML_RELEASE_FOLDER=tmp_path / "environments"):
        url = settings().store_url
        manifest = {"fit": {"span": ["2013-01-01", "2013-03-10"]}, "test": {"days": ["2013-03-11", "2013-03-31"]}}
        files.write(files.join(bundle.folder(url, OLD), bundle.MANIFEST), json.dumps(manifest).encode())
        for day, rows in (("2013-03-31", 9000), ("2013-04-01", 3000), ("2013-07-21", 2000), ("2013-07-22", 9000)):
            frame = pd.DataFrame({"outcome": [0.0] * rows + [None]})
            partitions.write(settings().labels_url, date.fromisoformat(day), frame)
        yield url


def monitored(until: str = "2013-07-21", *alarms: str, **more: Any) -> None:
    signals = {name: {"value": 0.0, "alarms": name in alarms} for name in ("rate", "loss")}
    told = {"status": "alarm" if alarms else "quiet", "bundle": OLD, "until": until, "signals": signals}
    told |= {"estimated": {"loss": 0.3, "high": 0.31, "worse": False}, "drifted": []} | more
    files.write(files.join(settings().reports_url, "verdict.json"), json.dumps(told).encode())


def judged(store: str, since: str, until: str, answer: Answer, environment: str = "staging", **more: Any) -> None:
    """What a run leaves: a bundle, the gate's verdict on it, and which window it is of."""
    said = gate(answer, **more)
    home = verdict.folder(store, said.challenger.bundle, OLD, environment)
    files.write(files.join(home, verdict.FILE), said.model_dump_json().encode())
    made = trained.Trained(said.challenger.bundle, OLD, environment)
    trained.remember(store, since, until, f"run-{environment}-{said.challenger.bundle[-4:]}", made)


def filed() -> dict[str, Any]:
    return dict(json.loads(files.read(files.join(settings().reports_url, "retraining.json"))))


def test_evidence_is_of_the_verdict_the_champion_and_the_labels_since_its_last_day(store: str) -> None:
    monitored("2013-07-21", "loss", drifted=["distance"], estimated={"worse": True})
    told = json.loads(files.read(files.join(settings().reports_url, "verdict.json")))
    found = retraining.evidence(told)
    assert found == Evidence(DAY, ["loss"], ["distance"], True, date(2013, 3, 31), 5000)
    release.write(Release(champion=OTHER))
    assert not retraining.evidence(told).serving


@pytest.mark.usefixtures("store")
def test_the_answer_to_an_earlier_verdict_stays_beside_it() -> None:
    monitored("2013-07-21")
    retraining.ask(forced=False, on="here")
    waited = filed()
    monitored("2013-07-22")
    retraining.ask(forced=False, on="here")
    assert filed()["day"] == "2013-07-22"
    assert json.loads(files.read(files.join(settings().reports_url, "2013-07-21/retraining.json"))) == waited


def test_every_answer_is_filed_and_only_what_acts_is_remembered(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    monitored()
    assert retraining.ask(forced=False, on="here").decision == "wait"
    assert filed() | {"at": ""} == {
        "decision": "wait", "reasons": ["the last verdict asks for nothing"], "rejections": 0, "window": [],
        "champion": OLD, "day": "2013-07-21", "at": "",
    }  # fmt: skip
    assert ledger.count(store, "retraining/laptop") == 0
    monitored("2013-07-21", "rate")
    assert retraining.ask(forced=False, on="kubeflow").window == WINDOW
    kept = ledger.read(store, "retraining/laptop", "000000")
    assert kept is not None
    assert datetime.fromisoformat(kept.pop("at")).tzinfo is not None
    assert kept == {
        "decision": "train", "reasons": ["rate of what was served alarms"], "forced": False, "champion": OLD,
        "day": "2013-07-21", "since": "2013-04-23", "until": "2013-07-21", "on": "kubeflow",
    }  # fmt: skip
    assert filed()["window"] == ["2013-04-23", "2013-07-21"]
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "retrain   wait: the last verdict asks for nothing",
        "retrain   train: rate of what was served alarms",
    ]


def test_attempts_wherever_they_ran_are_judged_by_the_gates_verdict_on_their_window(store: str) -> None:
    def came() -> list[str]:
        return [act.came for act in past(datetime.now(UTC)).acts]

    monitored("2013-07-21", "rate")
    retraining.ask(forced=False, on="github")
    assert came() == ["running"]
    assert [act.came for act in past(datetime.now(UTC) + timedelta(days=1, hours=1)).acts] == ["nothing"]
    judged(store, "2013-04-22", "2013-07-21", "pass", challenger=OTHER)  # of another window
    assert came() == ["running"]
    judged(store, "2013-04-23", "2013-07-21", "inconclusive")
    assert came() == ["inconclusive"]
    judged(store, "2013-04-23", "2013-07-21", "pass", judged_at=datetime(2026, 11, 22, tzinfo=UTC))
    assert came() == ["pass"]
    judged(store, "2013-04-23", "2013-07-21", "fail", "production", judged_at=datetime(2026, 11, 21, tzinfo=UTC))
    assert came() == ["pass"]
    judged(store, "2013-04-23", "2013-07-21", "fail", "production", judged_at=datetime(2026, 11, 23, tzinfo=UTC))
    assert came() == ["fail"]


def test_a_gate_that_rejects_leads_to_two_attempts_and_a_stop_until_somebody_says_go_on(store: str) -> None:
    answers = []
    for week in range(30):
        day = DAY + timedelta(days=7 * week)
        monitored(str(day), "rate")
        decision = retraining.ask(forced=False, on="here")
        answers.append(decision.decision)
        if decision.window:
            judged(store, *map(str, decision.window), "fail", challenger=f"{week:064x}")
    assert answers == ["train", "wait", "train", *["stop"] * 27]
    assert (filed()["decision"], filed()["rejections"]) == ("stop", 2)
    with pytest.raises(typer.Exit) as ended:
        watching.retrain(force=False, on="here")
    assert ended.value.exit_code == 10
    assert ledger.count(store, "retraining/laptop") == 3  # one stop, however often it is asked
    assert retraining.ask(forced=True, on="here").window is not None
    kept = ledger.read(store, "retraining/laptop", "000003")
    assert kept is not None
    assert (kept["decision"], kept["forced"], kept["reasons"]) == ("train", True, ["somebody asked for it"])
    assert retraining.ask(forced=False, on="here").decision == "wait"  # it has no verdict yet


def test_of_many_who_decide_at_once_one_acts(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monitored("2013-07-21", "rate")
    seen = attempts.past(datetime.now(UTC))
    monkeypatch.setattr(retraining, "past", lambda now: seen)  # all have read the same past
    with ThreadPoolExecutor(8) as pool:
        decisions = list(pool.map(lambda _: retraining.ask(forced=False, on="here"), range(8)))
    assert sorted(each.decision for each in decisions) == ["train", *["wait"] * 7]
    assert ledger.count(store, "retraining/laptop") == 1
    assert filed()["decision"] == "train"


def test_each_environment_remembers_for_itself(store: str) -> None:
    monitored("2013-07-21", "rate")
    retraining.ask(forced=False, on="here")
    with configured(ML_STORE_URL=store, ML_RELEASE_ENVIRONMENT="production"):
        assert past(datetime.now(UTC)).acts == []


def test_without_a_verdict_or_with_one_of_another_version_the_monitor_comes_first(store: str) -> None:
    with pytest.raises(ContractError, match=r"there is no verdict yet\. Run `ml monitor` first"):
        retraining.ask(forced=False, on="here")
    assert retraining.ask(forced=True, on="github").decision == "wait"
    assert filed()["reasons"] == ["there is no verdict yet: `ml monitor` comes first"]
    told = {"status": "alarm", "bundle": OLD, "until": "2013-07-21"}
    files.write(files.join(settings().reports_url, "verdict.json"), json.dumps(told).encode())
    with pytest.raises(ContractError, match=r"has no signals, so it is of another version\. Run `ml monitor` again"):
        retraining.ask(forced=False, on="here")


@pytest.mark.parametrize(
    ("place", "lacks"),
    [("github", "a token is needed to start train.yml"), ("kubeflow", "no image is named")],
)
def test_where_no_run_can_start_no_attempt_counts(
    place: Literal["github", "kubeflow"],
    lacks: str,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    monitored("2013-07-21", "rate")
    with pytest.raises(typer.Exit):
        watching.retrain(force=False, on=place)
    assert lacks in capsys.readouterr().err
    assert past(datetime.now(UTC)).acts == []
