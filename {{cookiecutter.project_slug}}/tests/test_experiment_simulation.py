"""What the intervals of experiments promise, where the truth is known: peeking, clusters, the past, the split.

The full numbers, as docs/experiments.md has them, come from `python -m benchmarks.experiment_simulation`.
"""

import numpy as np
import pytest
from experiment_worlds import World, coverage, decided, last_days, mismatch, wrong_once

from ml.contract.framing import framing
from ml.statistics.anytime import radius
from ml.statistics.clusters import Sums, difference, mean, sums
from ml.statistics.inference import of_days
from ml.statistics.metrics import Costs, cost_of, metrics
from ml.statistics.split import sample_ratio

COUNT = 200
ALPHA = framing().experiment.alpha
ERROR = 2.5 * np.sqrt(ALPHA * (1 - ALPHA) / COUNT)


@pytest.mark.parametrize(
    "world",
    [World(), World(temper=0, growth=0), World(growth=3), World(share=0.1), World(before=20, entities=1000)],
    ids=["as usual", "entities alike", "some take over", "a tenth", "adjusted by the past"],
)
def test_whoever_peeks_daily_is_wrong_as_seldom_as_promised_and_with_an_ordinary_interval_is_not(world: World) -> None:
    found = wrong_once(world, COUNT)
    assert found["sequence, any day"] <= ALPHA
    assert found["one look, any day"] > 2 * ALPHA
    assert found["one look, last day"] <= ALPHA + ERROR  # else the error itself is wrong


def test_the_sequence_is_no_wider_than_its_promise_needs() -> None:
    """A Brownian motion, looked at 400 times while its information grows a millionfold."""
    information, random = np.geomspace(0.01, 1e4, 400), np.random.default_rng(0)
    steps = random.normal(0, 1, (4000, 400)) * np.sqrt(np.diff(information, prepend=0))
    away = np.abs(steps.cumsum(axis=1) / information)
    for alpha in (0.05, 0.2):
        bound = np.array([radius(error, 1.0, alpha) for error in 1 / np.sqrt(information)])
        assert alpha / 2 < (away > bound).any(axis=1).mean() <= alpha


def test_the_sequence_is_narrowest_in_standard_errors_where_it_is_as_wide_as_it_was_told() -> None:
    errors = np.geomspace(1, 1000, 2001)
    widths = np.array([radius(error, 60.0, 0.05) for error in errors])
    narrowest = (widths / errors).argmin()
    assert widths[narrowest] == pytest.approx(60, rel=0.01)
    assert (widths / errors)[narrowest] == pytest.approx(3.03, abs=0.01)
    assert radius(0.0, 60.0, 0.05) == 0.0


def test_intervals_by_entity_hold_and_those_by_request_do_not() -> None:
    found = coverage(2 * COUNT)
    assert found["by entity"] > 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / (2 * COUNT))
    assert found["by request"] < 0.8


def test_the_error_of_a_mean_is_the_gates_with_entities_for_days() -> None:
    random = np.random.default_rng(0)
    entities, values = random.integers(0, 40, 1000), random.normal(3, 1, 1000)
    found, gates = mean(sums(values, entities)), of_days(*sums(values, entities))
    assert (found.value, found.error) == pytest.approx((gates.value, gates.error))


def test_the_past_takes_variance_away_and_no_truth() -> None:
    world = World(effect=40, before=30, entities=800, temper=500)
    plain, adjusted = last_days(world, COUNT)
    values = np.array([[each.value for each in found] for found in (plain, adjusted)])
    spread = values.std(axis=1)
    assert (np.abs(values.mean(axis=1) - world.effect) < 3 * spread / np.sqrt(COUNT)).all()
    told = np.mean([each.reduction for each in adjusted])
    assert told > 0.4
    assert 1 - (spread[1] / spread[0]) ** 2 == pytest.approx(told, abs=0.12)
    errors = [np.mean([each.error for each in found]) for found in (plain, adjusted)]
    assert spread == pytest.approx(np.array(errors), rel=0.15)


def test_where_there_is_no_past_nothing_is_adjusted() -> None:
    one, other = Sums(np.array([1.0, 2, 4]), np.ones(3)), Sums(np.array([3.0, 5]), np.ones(2))
    none = Sums(np.zeros(3), np.zeros(3)), Sums(np.zeros(2), np.zeros(2))
    assert difference(one, other, [none]) == difference(one, other)


def test_what_was_never_seen_is_not_impossible() -> None:
    """The rule of three, with the sequence's three errors for its three."""
    never = Sums(np.zeros(500), np.full(500, 7.0))
    found = mean(never, share=True)
    assert mean(never).error == difference(never, never).error == 0
    assert difference(never, never, share=True).error == pytest.approx(np.sqrt(2) / 500)
    assert radius(found.error, 0.006, ALPHA) == pytest.approx(3 / 500, rel=0.05)


def test_a_split_of_52_to_48_is_found_and_halves_are_not_called_broken() -> None:
    assert mismatch(0.52, COUNT) > 0.9
    assert mismatch(0.5, 10 * COUNT) <= 0.002
    assert mismatch(0.5, COUNT, days=30) <= 0.015  # who looks each evening is wrong some more often


def test_an_arm_that_was_never_planned_breaks_the_split_and_few_entities_leave_it_open() -> None:
    assert sample_ratio({"champion": 500, "other": 1}, {"champion": 100}) == 0.0
    assert sample_ratio({"champion": 90, "new": 1}, {"champion": 99, "new": 1}) is None
    assert sample_ratio({"champion": 500}, {"champion": 50, "new": 50}) < 1e-9


def test_a_stated_effect_is_found_and_a_loss_as_large_as_the_margin_seldom_passes() -> None:
    assert decided(World(effect=-90), COUNT, 0.0)[0] > 0.8
    assert decided(World(effect=60), COUNT, 60.0)[0] <= ALPHA / 2 + 2.5 * np.sqrt(ALPHA / 2 / COUNT)


def test_the_cost_of_rows_is_the_cost_that_the_metrics_report() -> None:
    random = np.random.default_rng(0)
    outcomes, scores = (random.random(500) < 0.3).astype(int), random.random(500)
    costs, days = Costs(2.0, 5.0), np.zeros(500)
    reported = metrics(outcomes, scores, days, costs, np.ones((1, 1)))["cost"][0]
    assert cost_of(outcomes, scores >= costs.threshold, costs).mean() == pytest.approx(reported)
