"""What drift, signals and the verdict go by: which days, rows, runs and weights, on worlds that are small."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import cast, get_args

import numpy as np
import pytest
from drift_worlds import (
    SINCE,
    TRAINED,
    VARIABLES,
    Counted,
    World,
    counted,
    look,
    named,
    reference,
    swings,
    with_outcomes,
)
from numpy.typing import NDArray

from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.contract.profile import Profile
from ml.monitoring import drift, monitor
from ml.monitoring.daily import Daily
from ml.monitoring.look import judge
from ml.monitoring.observations import Observations
from ml.monitoring.seen import Seen
from ml.monitoring.signal import Name, Past, highest_estimate, signals
from ml.statistics.longrun import long_run, student
from ml.statistics.metrics import Estimate
from ml.statistics.shift import Days, hellinger
from ml.statistics.unlabelled import expected_losses

ALARM = framing().alarm
LATER = named(14, SINCE + timedelta(days=TRAINED))


def profiles(counts: NDArray[np.int64], days: list[str]) -> dict[str, Profile]:
    """Return the profiles of days whose counts are known, [days, variables, cells]."""
    return {
        day: cast(Profile, Counted(dict(zip(VARIABLES, own, strict=True))))
        for day, own in zip(days, counts, strict=True)
    }


def window(shift: float = 0.0, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return counts of training, and of 14 days that are shifted, the first seven with three times as many rows."""
    rng, world = np.random.default_rng(seed), World(0.2, 0.5, 0.3)
    trained = counted(swings(world, TRAINED, len(VARIABLES), rng), 900, rng)
    means = swings(world, 14, len(VARIABLES), rng)
    means[:, 0] += shift
    return trained, np.concatenate([counted(means[:7], 900, rng), counted(means[7:], 300, rng)])


def test_a_variable_is_judged_by_days_that_the_model_had_not_seen_by_weekday_in_runs_and_row_by_row() -> None:
    trained, served = window(0.2)
    known = replace(reference(trained), unseen=[False] * 20 + [True] * 50)
    found = drift.drifts(known, profiles(served, LATER), {})
    weekdays = np.array([*known.days, *LATER], dtype="datetime64[D]").astype(int) % 7
    for place, each in enumerate(found):
        own, rows = served[:, place], served[:, place].sum(axis=1).astype(float)
        days = Days(trained[20:, place].astype(float), weekdays[20:TRAINED], ALARM.block_days)
        chance, usual = days.chance(rows.sum(), 14), days.expected(weekdays[TRAINED:], rows)
        threshold = chance.threshold(ALARM.false_alarm_rate / len(found), ALARM.drift_floor)
        assert each.distance == pytest.approx(float(hellinger(own.sum(axis=0) / rows.sum(), usual)))
        assert each.threshold == pytest.approx(threshold)
        assert each.power == pytest.approx(chance.power(ALARM.relevant_shift, threshold))


@pytest.mark.parametrize("importance", [{}, {VARIABLES[0]: 1.0, **dict.fromkeys(VARIABLES[1:], 0.0)}])
def test_what_lies_beyond_its_threshold_drifts_and_nothing_nearer_where_no_other_moved(
    importance: Mapping[str, float],
) -> None:
    answers = []
    for shift in np.linspace(0.3, 1.2, 60):
        trained, served = window(float(shift), seed=3)
        found, *others = drift.drifts(reference(trained), profiles(served, LATER), importance)
        assert (found.answer == "drift") is (found.distance > found.threshold)
        answers.append(found.answer)
        assert found.weight == pytest.approx(0.5 + len(VARIABLES) / 2 if importance else 1)
        assert all(each.weight == pytest.approx(0.5 if importance else 1) for each in others)
    assert set(answers) > {"drift"}


def test_what_nothing_is_known_of_matters_as_much_as_the_most_important() -> None:
    trained, served = window()
    found = drift.drifts(reference(trained), profiles(served, LATER), {VARIABLES[0]: 0.1, VARIABLES[1]: 0.3})
    first, second, *others = (each.weight for each in found)
    assert first < second
    assert set(others) == {second}


def test_a_window_of_some_weekdays_is_compared_with_those() -> None:
    assert max(each.distance for each in look(World(0, weekly=1.0), 3, 2700, seed=0)) < ALARM.drift_floor


def test_the_past_is_that_of_days_that_the_model_had_not_seen() -> None:
    known = with_outcomes(np.random.default_rng(0), np.zeros((TRAINED, len(VARIABLES), 12), dtype=np.int64))
    known = replace(known, unseen=[False] * 20 + [True] * 50)
    for name in (*get_args(Name), "estimated"):
        assert len(Past.of(known, name).sums) == len(Past.of(known, name).sizes) == 50
    assert Past.of(known, "loss").sums[0] == pytest.approx(known.realised[20] - known.estimated[20])


def test_limits_know_runs_how_skewed_days_are_and_that_the_reference_errs() -> None:
    rng = np.random.default_rng(1)
    runs = Past(np.repeat(rng.normal(size=20), 4), np.ones(80))
    mixed = Past(rng.permutation(runs.sums), runs.sizes)
    assert runs.windows(8, 2000, 0).std() > 1.4 * mixed.windows(8, 2000, 0).std()
    margin = student(long_run((runs.sums - runs.sums.mean())[:, None], ALARM.block_days), 0.95) * np.sqrt(2 / 80)
    assert runs.limits(80, 0.05) == pytest.approx((runs.sums.mean() - margin, runs.sums.mean() + margin))
    skewed = Past(rng.exponential(size=80) ** 4, np.ones(80))
    assert skewed.limits(2, 0.05)[1] == pytest.approx(np.quantile(skewed.windows(2, 4000, 0), 0.95))


def said(scores: NDArray[np.float64], outcomes: NDArray[np.float64], days: list[str]) -> Observations:
    """Return rows, as many a day."""
    return Observations(scores, outcomes, np.repeat(days, len(scores) // len(days)), np.full(len(scores), 3.0))


def test_all_signals_together_are_as_rarely_wrong_as_asked_and_one_score_for_all_has_no_slope() -> None:
    rng = np.random.default_rng(2)
    known = with_outcomes(rng, np.zeros((TRAINED, len(VARIABLES), 12), dtype=np.int64))
    outcomes, scores = (rng.random(700) < 0.1).astype(float), rng.uniform(0.05, 0.2, 700)
    found = list(signals(known, Daily.of(said(scores, outcomes, LATER))))
    assert [each.name for each in found] == list(get_args(Name))
    for each in found:
        assert (each.low, each.high) == Past.of(known, each.name).limits(14, ALARM.false_alarm_rate / 3 / 2)
    for score in (0.1, 1 / 3):
        flat = Daily.of(said(np.full(700, score), outcomes, LATER))
        assert [each.name for each in signals(known, flat)] == ["rate", "loss"]
    blind = replace(known, information=[0.0] * TRAINED)
    assert [each.name for each in signals(blind, Daily.of(said(scores, outcomes, LATER)))] == ["rate", "loss"]


def test_drift_is_no_alarm_and_what_scores_let_expect_is_of_the_newest_days(monkeypatch: pytest.MonkeyPatch) -> None:
    trained, served = window(1.0)
    known = with_outcomes(np.random.default_rng(4), trained)
    rate = sum(known.observed) / sum(known.rows)
    outcomes = np.tile(np.where(np.arange(100) < 100 * rate, 1.0, 0.0), 28)
    outcomes[np.random.default_rng(5).permutation(2800)[:700]] = np.nan
    early = said(np.full(2800, rate), outcomes, named(28, SINCE + timedelta(days=TRAINED - 28)))
    late = said(np.full(1400, 0.4), np.full(1400, np.nan), LATER)
    champion = cast(Bundle, SimpleNamespace(digest="c" * 64, manifest={}, reference=known))
    monkeypatch.setattr("ml.monitoring.look.estimates", lambda *_: dict[str, Estimate]())
    monkeypatch.setattr(drift, "merged", lambda _: None)
    seen = Seen.of(Observations.together([early, late]))
    found = judge(champion, cast(Profile, None), seen, profiles(served, LATER), [])
    moved, second, *others = found.drifts
    told = monitor.verdict(replace(found, drifts=[moved, replace(second, answer="inconclusive"), *others]))
    assert (told["status"], told["drifted"]) == ("quiet", [VARIABLES[0]])
    assert (told["rows"], told["matured"], told["coverage"]) == (2800, 2100, 0.75)
    assert told["estimated"]["loss"] == pytest.approx(expected_losses(np.array([0.4]))[framing().task.metric][0])
    assert (told["estimated"]["high"], told["estimated"]["worse"]) == (highest_estimate(known, 14), True)
