"""A season in a moment: the real loop and the real policy, in a world without lake, pipeline and gate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from conftest import configured, copy_of_bundle
from numpy.typing import NDArray

from ml.contract import bundle as bundles
from ml.contract import release
from ml.contract.framing import Retraining, framing
from ml.drill import season, world, yearbook
from ml.drill.living import Attempt, Lived, World, live
from ml.drill.served import Served, as_known, matured, served, stretches
from ml.drill.sides import Sides, together
from ml.errors import ContractError
from ml.features.rows import Rows
from ml.features.table import CATEGORIES, NUMBERS, Inputs
from ml.monitoring.policy import Evidence
from ml.pipeline.run import Run
from ml.settings import settings
from ml.statistics.inference import Answer
from ml.statistics.metrics import cost_of

TRAINED_UNTIL, BEGIN = date(2021, 3, 31), date(2021, 4, 1)
A_DAY = 40  # rows
FIRST = "first"
POLICY = Retraining(
    window_days=90, pause_days=20, max_age_days=365, new_labels=A_DAY * 10, per_week=1, rejections=2
)  # the pause is longer than a stretch


def rows(since: date, until: date) -> Rows:
    """Days of which one row in four ends positive; the first number says which."""
    days = np.repeat([str(since + timedelta(days=day)) for day in range((until - since).days + 1)], A_DAY)
    outcomes = np.tile([1, 0, 0, 0], len(days) // 4)
    numbers = np.zeros((len(days), len(NUMBERS)), np.float32)
    numbers[:, 0] = outcomes
    inputs = Inputs(numbers, np.full((len(days), len(CATEGORIES)), "", object))
    return Rows(inputs, outcomes, days.astype(object), np.arange(len(days)).astype(np.uint64))


@dataclass
class Told:
    """A world in which the gate's answers are told, the first model is blind, and its successors know."""

    answers: list[Answer]
    alarming: Callable[[str], bool] = lambda digest: True
    trained: list[tuple[date, date]] = field(default_factory=list)
    promoted: list[str] = field(default_factory=list)
    seen: list[Served] = field(default_factory=list)
    labelled: list[int] = field(default_factory=list)

    def score(self, digest: str, inputs: Inputs) -> NDArray[np.float64]:
        known = inputs.numbers[:, 0].astype(np.float64)
        return np.full(len(known), 0.1) if digest == FIRST else 0.05 + 0.9 * known

    def watch(self, digest: str, seen: Served, labelled: NDArray[np.str_]) -> Evidence:
        self.seen.append(seen)
        self.labelled.append(len(labelled))
        alarms = ["rate"] if self.alarming(digest) else []
        day = date.fromisoformat(np.unique(seen.said.days[seen.said.matured])[-1])
        return Evidence(day, alarms, [], False, TRAINED_UNTIL, len(labelled))

    def train(self, since: date, until: date) -> Attempt:
        self.trained.append((since, until))
        answer = self.answers[len(self.trained) - 1]
        return Attempt(f"bundle{len(self.trained)}", answer, [] if answer == "pass" else ["slices"])

    def lived(self, count: int, policy: Retraining = POLICY) -> list[Lived]:
        there = [TRAINED_UNTIL + timedelta(days=day) for day in range(14 * count + 1)]
        world = World(rows, self.score, self.watch, lambda digest, seen: ["rate"], self.train, self.promoted.append)
        return list(live(FIRST, stretches(there, BEGIN, 14), world, policy))


def champions(year: Sequence[Lived]) -> list[str]:
    return [each.champion for each in year]


def test_only_a_pass_is_promoted_and_serves_from_the_next_stretch_on() -> None:
    told = Told(["inconclusive", "pass"], alarming=lambda digest: digest == FIRST)
    year = told.lived(6)
    assert champions(year) == [FIRST] * 3 + ["bundle2"] * 3
    assert told.promoted == ["bundle2"]
    assert [each.attempt.answer if each.attempt else None for each in year[:3]] == ["inconclusive", None, "pass"]


def test_it_waits_in_the_pause_and_stops_after_rejections_in_a_row() -> None:
    told = Told(["fail", "inconclusive"])
    year = told.lived(8)
    assert [each.decision.decision for each in year] == ["train", "wait", "train", "stop", *["stop"] * 4]
    assert "retraining.pause_days" in year[1].decision.reasons[0]
    assert told.promoted == []
    assert champions(year) == [FIRST] * 8


def test_who_is_stopped_stays_stopped_when_nothing_asks_any_more() -> None:
    told = Told(["fail", "fail"], alarming=lambda digest: len(told.seen) <= 4)
    assert [each.decision.decision for each in told.lived(6)] == ["train", "wait", "train", "stop", "stop", "stop"]


def test_it_trains_on_the_window_of_the_policy_which_ends_with_the_newest_day_of_known_outcomes() -> None:
    told = Told(["fail", "fail"])
    told.lived(1)
    assert told.trained == [(date(2021, 4, 13) - timedelta(days=89), date(2021, 4, 13))]
    assert told.labelled == [13 * A_DAY], "the last day's outcomes are not known when it ends"


def test_too_few_new_labels_hold_it_back() -> None:
    told = Told([])
    (only,) = told.lived(1, POLICY.model_copy(update={"new_labels": 13 * A_DAY + 1}))
    assert only.decision.decision == "wait"
    assert told.trained == []


def test_a_champion_is_judged_by_what_it_has_served_itself() -> None:
    told = Told(["pass"], alarming=lambda digest: digest == FIRST)
    told.lived(3)
    assert [len(np.unique(seen.said.days)) for seen in told.seen] == [14, 14, 28]
    assert told.labelled == [days * A_DAY for days in (13, 27, 41)], "labels count, whoever has served them"


def test_too_few_outcomes_ask_nobody() -> None:
    told = Told([])
    told.watch = lambda digest, seen, labelled: None  # type: ignore[assignment, return-value]
    assert told.lived(1)[0].decision.reasons == ["too few outcomes are known"]


def test_both_models_are_compared_on_the_same_rows() -> None:
    year = Told(["pass"], alarming=lambda digest: digest == FIRST).lived(3)
    before, after = year[0].sides, together([each.sides for each in year[1:]])
    assert (before.champion == before.first).all()
    assert [yearbook.cells(each, str)[-1] == "the same" for each in year] == [True, False, False]
    found, costs = after.compared(), framing().cost.costs
    assert len(after.outcomes) == 28 * A_DAY
    assert found.first["cost"].value == pytest.approx(1000 * costs.miss / 4)
    assert found.champion["cost"].value == 0
    assert found.dearer.value == pytest.approx(-1000 * costs.miss / 4)


def test_the_difference_is_paired_so_that_good_and_bad_days_take_nothing_from_it() -> None:
    """Days that swing widely, and a model that is a little better on each of them."""
    generator = np.random.default_rng(1)
    days = np.repeat([f"2021-05-{day:02d}" for day in range(1, 22)], 500).astype(object)
    rate = np.repeat(generator.uniform(0.02, 0.5, 21), 500)
    outcomes = (generator.random(len(days)) < rate).astype(np.int64)
    first = np.full(len(days), 0.01)
    champion = np.where((outcomes == 1) & (generator.random(len(days)) < 0.1), 0.9, first)
    found = Sides(outcomes, days, champion, first).compared()
    assert found.champion["cost"].high > found.first["cost"].low, "by themselves they cannot be told apart"
    assert found.dearer.high < 0
    apart = cost_of(outcomes, champion > 0.5, framing().cost.costs) - cost_of(
        outcomes, first > 0.5, framing().cost.costs
    )
    assert found.dearer.value == pytest.approx(apart.mean())


def test_what_is_not_known_yet_is_no_outcome() -> None:
    since = date(2021, 4, 1)
    parts = [
        served(rows(first, first + timedelta(days=1)), np.full(2 * A_DAY, 0.1))
        for first in (since, since + timedelta(days=2))
    ]
    found = as_known(parts, date(2021, 4, 4))
    assert matured(date(2021, 4, 4)) == date(2021, 4, 3)
    assert sorted(set(found.said.days[~found.said.matured])) == ["2021-04-04"]
    assert len(found.features) == 4 * A_DAY


def test_stretches_are_whole_ones_after_the_training() -> None:
    there = [TRAINED_UNTIL + timedelta(days=day) for day in range(30)]
    assert list(stretches(there, BEGIN, 14)) == [
        (date(2021, 4, 1), date(2021, 4, 14)),
        (date(2021, 4, 15), date(2021, 4, 28)),
    ]


def test_the_closing_sentence_says_what_was_earned_and_what_was_not() -> None:
    good = Told(["pass"], alarming=lambda digest: digest == FIRST).lived(3)
    said = yearbook.closing(good, FIRST)
    assert "cost 0.000 (0.000 to 0.000) instead of 1750" in said
    assert "so retraining earned that much" in said
    assert "Of 2 stretches 0 alarmed, and 2 would have with the first model; trainings: 1, promotions: 1." in said
    bad = yearbook.closing(Told(["inconclusive", "fail"]).lived(4), FIRST)
    assert bad == "No model was promoted in time to serve (gate: inconclusive, fail), so retraining changed nothing."


def test_the_page_has_a_row_for_each_stretch_and_says_why_nothing_was_promoted() -> None:
    year = Told(["inconclusive", "fail"]).lived(4)
    lines = [line for line in yearbook.page(year, FIRST).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 4
    assert "| train | inconclusive: slices |" in lines[2]
    assert "| the same |" in lines[2]
    assert {line.count("|") for line in lines} == {len(yearbook.HEAD) + 1}
    assert "train on 2021-01-14 to 2021-04-13" in yearbook.line(year[0])
    assert "2021-04-15 to 2021-04-28: alarm: rate; wait: 14 days after the last attempt" in yearbook.page(year, FIRST)


@pytest.mark.slow
def test_the_real_monitor_gate_and_release_move_a_blind_model_that_is_old_out_of_the_way(
    bundle: tuple[str, str], lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it but the training: the shared bundle has the gate's verdict against the simplest rung, here champion."""
    copy_of_bundle(bundle, tmp_path)
    (tmp_path / "verdicts/laptop").rename(tmp_path / "verdicts" / season.ENVIRONMENT)
    blind = bundles.load(bundle[0], bundle[1]).baseline
    asked = []

    def pipeline(since: date, until: date) -> Run:
        asked.append((since, until))
        bundles.name_newest(str(tmp_path), blind)  # as whatever is registered last
        return Run(bundle[1])

    monkeypatch.setattr(world, "run", pipeline)
    late = [(date(2013, 10, 7), date(2013, 10, 20))]
    monkeypatch.setattr(season, "stretches", lambda days, since, length: iter(late))
    with configured(ML_STORE_URL=tmp_path, ML_RELEASE_FOLDER=tmp_path / "environments"):
        (only,) = season.season(blind)
        there = release.of(season.ENVIRONMENT)
        assert settings().release.environment == "laptop", "nothing of this process has changed"
    assert only.decision.reasons == ["the champion is 202 days old, retraining.max_age_days says 180"]
    assert asked == [(date(2013, 7, 22), date(2013, 10, 19))]
    assert there is not None
    assert there.champion == bundle[1]
    assert bundles.newest(str(tmp_path)) == bundle[1], "what was the newest before still is"
    page = (tmp_path / "reports" / season.ENVIRONMENT / season.PAGE).read_text()
    assert "| train | pass, promoted |" in page


@pytest.mark.parametrize(
    ("since", "said"),
    [
        (date(2013, 3, 31), "was trained on days up to 2013-03-31, and cannot live from 2013-03-31 on"),
        (date(2013, 12, 24), "has no 14 days from 2013-12-24 on"),
    ],
)
def test_a_season_begins_after_the_training_and_needs_a_stretch(
    bundle: tuple[str, str], lake: str, since: date, said: str
) -> None:
    with pytest.raises(ContractError, match=said):
        season.season(bundle[1], since)
