"""Distances, what chance adds to them, and many questions at once, on numbers whose answers are known."""

import numpy as np
import pytest
from drift_worlds import World, counted, swings
from scipy.stats import chi2, false_discovery_control

from ml.statistics.longrun import long_run, student
from ml.statistics.many import discoveries, weights_of
from ml.statistics.metrics import losses
from ml.statistics.shift import Chance, Days, hellinger, psi, shares
from ml.statistics.unlabelled import expected_losses, slope_terms


def days(counts: np.ndarray, run: int = 1) -> Days:
    return Days(np.asarray(counts, dtype=np.float64), np.zeros(len(counts), dtype=np.int64), run)


def test_the_distance_is_nothing_for_equal_shares_and_one_for_nothing_in_common() -> None:
    assert hellinger(np.array([0.2, 0.8]), np.array([0.2, 0.8])) == pytest.approx(0, abs=1e-8)
    assert hellinger(np.array([1.0, 0]), np.array([0, 1.0])) == 1
    assert hellinger(np.array([0.5, 0.5]), np.array([1.0, 0])) == pytest.approx(np.sqrt(1 - np.sqrt(0.5)))


def test_the_index_is_eight_times_the_squared_distance_of_what_is_close() -> None:
    one, other = np.array([0.3, 0.3, 0.4]), np.array([0.31, 0.28, 0.41])
    assert psi(one, other) == pytest.approx(8 * hellinger(one, other) ** 2, rel=0.01)
    assert np.isfinite(psi(np.array([1.0, 0]), np.array([0.5, 0.5])))


def test_a_cell_that_was_never_filled_has_a_share_all_the_same() -> None:
    assert shares(np.array([0.0, 9.0])) == pytest.approx([0.05, 0.95])


def test_where_days_do_not_differ_only_rows_count() -> None:
    """Half the sum of squared terms is then an eighth of chi-squared over the rows (Pearson 1900)."""
    rng = np.random.default_rng(0)
    share = np.array([0.1, 0.2, 0.3, 0.4])
    known = days(rng.multinomial(5000, share, 400))
    chance = known.chance(1000, 14)
    assert chance.mean == pytest.approx(3 / (8 * 1000), rel=0.1)
    windows = rng.multinomial(1000, share, 2000) / 1000
    distances = hellinger(windows, share)
    assert np.quantile(distances, 0.99) == pytest.approx(np.sqrt(chi2(3).ppf(0.99) / 8000), rel=0.05)
    assert np.mean([chance.p_value(each, 0) < 0.01 for each in distances]) == pytest.approx(0.01, abs=0.006)


def test_days_that_differ_widen_what_chance_explains_however_many_rows_there_are() -> None:
    rng = np.random.default_rng(1)
    swinging = np.array([rng.multinomial(5000, [p, 1 - p]) for p in rng.uniform(0.2, 0.8, 100)])
    calm, wide = days(rng.multinomial(5000, [0.5, 0.5], 100)), days(swinging)
    assert wide.chance(1e6, 14).mean > 100 * calm.chance(1e6, 14).mean
    assert wide.chance(1e6, 14).mean == pytest.approx(wide.chance(1e9, 14).mean, rel=0.01)
    assert wide.chance(1e6, 28).mean < wide.chance(1e6, 14).mean


def test_a_reference_errs_as_much_as_a_window_of_as_many_days_and_rows() -> None:
    rng = np.random.default_rng(6)
    known = days(np.array([rng.multinomial(100, [p, 1 - p]) for p in rng.uniform(0.3, 0.7, 50)]))
    its_own = known.chance(1e12, 10**9)
    assert known.chance(known.counts.sum(), 50).mean == pytest.approx(2 * its_own.mean)
    calm = days(np.full((50, 2), 50))  # rows alone, an eighth of chi-squared over each
    assert calm.chance(1000, 14).denominator > 100 * known.chance(1e12, 14).denominator, "rows are known, days are few"
    assert calm.chance(calm.counts.sum(), 50).mean == pytest.approx(2 / (8 * 5000))


def p_values(world: World, looks: int = 60) -> np.ndarray:
    """Return by what chance windows of 14 days are as far as they are from 70 days of the same world."""
    found = []
    for seed in range(looks):
        rng = np.random.default_rng(seed)
        trained, served = (counted(swings(world, many, 10, rng), 900, rng).astype(float) for many in (70, 14))
        for variable in range(10):
            known = Days(trained[:, variable], np.arange(70) % 7, 4)
            window, rows = served[:, variable].sum(axis=0), served[:, variable].sum(axis=1)
            distance = float(hellinger(window / rows.sum(), known.expected(np.arange(14) % 7, rows)))
            found.append(known.chance(rows.sum(), 14).p_value(distance, 0))
    return np.array(found)


@pytest.mark.parametrize(
    "world", [World(0.1, 0.5, 0.2), World(0.3, 0.5), World(0.3, 0.5, heavy=True)], ids=["weekdays", "runs", "heavy"]
)
def test_a_window_without_a_shift_is_as_far_as_it_is_as_often_as_its_p_value_says(world: World) -> None:
    """Without the floor, that would hide any error of what days explain."""
    found = p_values(world)
    assert (found < 0.01).mean() <= 0.025
    assert 0.03 <= (found < 0.05).mean() <= 0.08
    assert 0.14 <= (found < 0.2).mean() <= 0.26


def test_days_in_runs_vary_more_than_days_on_their_own() -> None:
    rng = np.random.default_rng(2)
    drawn = rng.normal(size=400)
    runs = np.repeat(rng.normal(size=100), 4)
    alone, together = (long_run(each[:, None], 4) for each in (drawn, runs))
    assert alone.covariance[0, 0] == pytest.approx(1, abs=0.5)
    assert together.covariance[0, 0] > 2 * alone.covariance[0, 0]
    assert student(together, 0.99) > 2.3 * np.sqrt(together.covariance[0, 0])


def test_the_covariance_of_days_in_runs_is_summed_over_lags_with_falling_weights() -> None:
    lags_of_four = 12 + 2 * (0.75 * 11 + 0.5 * 10 + 0.25 * 9)
    found = long_run(np.ones((12, 1)), run=2)
    assert (found.covariance[0, 0], found.freedom) == (pytest.approx(lags_of_four / 11), pytest.approx(11 / 4))
    assert long_run(np.ones((12, 1)), run=2, means=7).covariance[0, 0] == pytest.approx(lags_of_four / 5)
    assert long_run(np.ones((4, 1)), run=9).covariance[0, 0] == pytest.approx((4 + 2 * 0.5 * 3) / 3), "two lags at most"
    assert long_run(np.ones((4, 1)), run=9).freedom == 2


def test_a_threshold_is_the_distance_of_its_level_and_never_within_the_floor() -> None:
    chance = Chance(mean=0.001, numerator=4, denominator=20, widest=0.0005)
    threshold = chance.threshold(0.001, 0.1)
    assert threshold > 0.1
    assert chance.p_value(threshold, 0.1) == pytest.approx(0.001)
    assert chance.p_value(0.1, 0.1) == 1
    assert chance.power(0.3, threshold) > 0.95 > 0.05 > chance.power(0.05, threshold)
    assert Chance(mean=9, numerator=4, denominator=2, widest=9).threshold(0.001, 0.1) == 1, "further is nothing"


def test_power_is_a_half_at_the_threshold_and_less_beyond_it_where_days_swing_the_same_way() -> None:
    chance = Chance(mean=0.01, numerator=4, denominator=20, widest=0.005)
    assert chance.power(0.3, float(np.sqrt(0.3**2 + chance.mean))) == pytest.approx(0.5)
    swinging = Chance(mean=0.01, numerator=4, denominator=20, widest=0.05)
    assert 0.5 < swinging.power(0.4, 0.3) < chance.power(0.4, 0.3)
    of_two_cells = days(np.full((50, 2), 50)).chance(1000, 14)
    assert of_two_cells.widest == pytest.approx(2 * of_two_cells.mean), "there is one way only to vary"


def test_weekdays_are_told_apart_where_each_is_there_often_enough() -> None:
    seasons = np.arange(70) % 7
    weekend = np.where(seasons[:, None] >= 5, [100, 900], [900, 100]).astype(float)
    known = Days(weekend, seasons, 2)
    saturdays = known.expected(np.full(2, 5), np.full(2, 1000.0))
    assert saturdays == pytest.approx([0.1, 0.9], abs=0.01)
    busy = known.expected(np.array([4, 5]), np.array([3000.0, 1000.0]))
    assert busy == pytest.approx([0.7, 0.3], abs=0.01), "a day counts by its rows"
    assert Days(weekend[:28], seasons[:28], 2).expected(np.full(2, 5), np.full(2, 1000.0))[0] < 0.11
    short = Days(weekend[:27], seasons[:27], 2)
    assert short.expected(np.full(2, 5), np.full(2, 1000.0)) == pytest.approx(
        shares(weekend[:27].sum(axis=0)), abs=1e-3
    )


def test_discoveries_are_those_of_benjamini_and_hochberg() -> None:
    found = np.random.default_rng(3).uniform(size=40) ** 3
    assert (discoveries(found, np.ones(40), 0.05) == (false_discovery_control(found) <= 0.05)).all()
    assert not discoveries(np.array([0.9, 0.8]), np.ones(2), 0.05).any()
    assert discoveries(np.array([0.04, 0.05]), np.ones(2), 0.05).all(), "the last that holds takes the others along"


def test_what_matters_more_needs_less_and_all_weights_are_one_on_average() -> None:
    weights = weights_of(np.array([0.0, 0.1, 0.3, -0.1]))
    assert weights.mean() == pytest.approx(1)
    assert weights.tolist() == pytest.approx([0.5, 1.0, 2.0, 0.5])
    assert weights_of(np.zeros(3)).tolist() == [1, 1, 1]
    close = np.full(2, 0.03)
    assert discoveries(close, np.array([1.5, 0.5]), 0.04).tolist() == [True, False]


def test_expected_losses_are_the_mean_of_both_outcomes_by_the_score() -> None:
    scores = np.array([0.1, 0.5, 0.9])
    entropy = -scores * np.log(scores) - (1 - scores) * np.log(1 - scores)
    assert expected_losses(scores)["log_loss"] == pytest.approx(entropy)
    assert expected_losses(scores)["brier"] == pytest.approx(scores * (1 - scores))
    rng = np.random.default_rng(4)
    many = rng.uniform(0.05, 0.6, 200_000)
    came = (rng.random(len(many)) < many).astype(float)
    assert losses(came, many)["log_loss"].mean() == pytest.approx(expected_losses(many)["log_loss"].mean(), rel=0.01)


def test_the_slope_is_that_of_the_recalibrated_logit_whatever_a_day_does_to_all_its_rows() -> None:
    rng = np.random.default_rng(5)
    day = np.repeat(np.arange(50), 2000)
    moved = 0.4 * rng.normal(size=50)[day]  # of which nothing comes true
    own = rng.normal(size=len(day))
    scores = 1 / (1 + np.exp(2 - moved - own))
    for slope, near in ((1.0, 0.05), (0.7, 0.1)):  # one step, so that far from 1 it goes too far
        truth = 1 / (1 + np.exp(2 - slope * own - 0.3 * rng.normal(size=50)[day]))
        terms, information = slope_terms((rng.random(len(day)) < truth).astype(float), scores, day)
        assert 1 + terms.sum() / information.sum() == pytest.approx(slope, abs=near)
    for score in (0.1, 0.3, 1 / 3):
        same = slope_terms(np.ones(900), np.full(900, score), np.zeros(900, dtype=int))
        assert same[0].tolist() == same[1].tolist() == [0], "what rounding leaves is no information"
