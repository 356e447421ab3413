"""Bounds, answers and days needed: by hand, at known bounds, and where rows would be far too sure."""

import numpy as np
import pytest
from gate_worlds import Pair, auc_by_day, delong, honest, judged, moody, noisy
from scipy.stats import t, ttest_1samp
from sklearn.metrics import roc_auc_score

from ml.statistics import inference
from ml.statistics.inference import DRAWS, Ratio, below, between, days_needed, holm, of_days, power, ratio

ALPHA = 0.05


def known(value: float, error: float = 1.0) -> Ratio:
    """A ratio whose draws are so narrow that Student's t, of a million days, is the wider: bounds at 1.645 errors."""
    return Ratio(value, error, 1_000_000, np.linspace(-0.1, 0.1, DRAWS))


def test_holm_is_worked_by_hand() -> None:
    """Four p-values: times 4, 3, 2, 1 in order of size, and never below one that is smaller."""
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_is_the_running_maximum_of_multiplied_p_values() -> None:
    """The definition in statsmodels: maximum.accumulate(sorted p-values * arange(n, 0, -1)), at most 1."""
    generator = np.random.default_rng(0)
    for _ in range(50):
        p_values = generator.random(generator.integers(1, 20)).round(2)
        order = np.argsort(p_values)
        expected = np.empty(len(p_values))
        expected[order] = np.minimum(np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)), 1)
        assert holm(p_values.tolist()) == pytest.approx(expected)


def test_the_value_is_the_plain_ratio_and_its_draws_are_those_of_resampled_days() -> None:
    generator = np.random.default_rng(1)
    days = np.array([f"2013-04-{day:02}" for day in generator.integers(1, 22, 500)], dtype=object)
    tops, bottoms = generator.normal(1, 2, 500), generator.random(500)
    found = ratio(tops, bottoms, days)
    assert found.value == pytest.approx(tops.sum() / bottoms.sum())
    assert found.days == len(set(days))
    named, day = np.unique(days, return_inverse=True)
    sums, sizes = np.bincount(day, tops), np.bincount(day, bottoms)
    drawn = inference.resampled_days(len(named), DRAWS, 0)  # one draw after the other, as the book says
    expected = []
    for draw in drawn[:200]:
        value = sums[draw].sum() / sizes[draw].sum()
        residuals = sums[draw] - value * sizes[draw]
        error = np.sqrt(len(named) / (len(named) - 1) * (residuals**2).sum()) / sizes[draw].sum()
        expected.append((value - found.value) / error)
    places = np.searchsorted(found.studentised, np.array(expected) - 1e-9)
    assert found.studentised[places] == pytest.approx(np.array(expected), abs=1e-7)


def test_of_equal_days_the_error_is_that_of_a_mean() -> None:
    values = np.random.default_rng(2).normal(size=21)
    found = of_days(values, np.ones(21))
    assert found.error == pytest.approx(values.std(ddof=1) / np.sqrt(21))
    assert found.spread == pytest.approx(values.std(ddof=1))


def test_below_and_between_answer_by_their_bounds() -> None:
    bound = 1.645
    assert below(known(0), bound + 0.01, ALPHA) == "pass"
    assert below(known(0), bound - 0.01, ALPHA) == "inconclusive"
    assert below(known(0), -bound + 0.01, ALPHA) == "inconclusive"
    assert below(known(0), -bound - 0.01, ALPHA) == "fail"
    assert between(known(0), -bound - 0.01, bound + 0.01, ALPHA) == "pass"
    assert between(known(0), -bound + 0.01, 9, ALPHA) == "inconclusive"
    assert between(known(0), -9, bound - 0.01, ALPHA) == "inconclusive"
    assert between(known(0), bound + 0.01, 9, ALPHA) == "fail"
    assert between(known(0), -9, -bound - 0.01, ALPHA) == "fail"


def test_identical_models_are_not_better_and_are_no_worse() -> None:
    found = of_days(np.zeros(21), np.full(21, 200.0))
    assert found.error == 0
    assert below(found, 0.0, ALPHA) == "fail"
    assert below(found, 0.01, ALPHA) == "pass"
    assert found.p_over(0.01) == 1
    assert of_days(np.ones(21), np.ones(21)).p_over(0.5) == 0


def test_a_p_value_and_its_bound_say_the_same() -> None:
    generator = np.random.default_rng(3)
    for _ in range(200):
        found = of_days(generator.gamma(1, 1, 21) - generator.random(), np.ones(21))
        if abs(found.low(ALPHA)) > 1e-2 * found.error:
            assert (found.p_over(0) <= ALPHA) == (found.low(ALPHA) > 0)


def test_the_wider_of_bootstrap_and_student_counts() -> None:
    """Skewed days: the bootstrap is wider towards the long tail, Student's t towards the short one."""
    for sign in (1, -1):
        found = of_days(sign * np.random.default_rng(4).gamma(0.5, 1, 21), np.ones(21))
        student = t.ppf(1 - ALPHA, 20) * found.error
        drawn = np.quantile(found.studentised, [ALPHA, 1 - ALPHA]) * found.error
        assert (-drawn[0] > student) != (drawn[1] > student)  # each is the wider on one side
        assert found.high(ALPHA) == pytest.approx(found.value + max(student, -drawn[0]))
        assert found.low(ALPHA) == pytest.approx(found.value - max(student, drawn[1]))
    assert known(0).high(ALPHA) == pytest.approx(1.645, abs=1e-3)


def test_days_needed_falls_with_the_distance_and_is_none_beyond_the_limit() -> None:
    needed = [days_needed(0.03, distance, ALPHA, 0.8) for distance in (0.002, 0.005, 0.01, 0.02)]
    assert needed == sorted(needed, reverse=True)
    assert needed[2] == 63  # 1.1 * (((1.645 + 0.842) * 3) ** 2 + 1.645 ** 2 / 2), rounded up
    assert days_needed(0.03, 0.0, ALPHA, 0.8) is None
    assert days_needed(0.03, -0.01, ALPHA, 0.8) is None
    for days in needed:
        assert days is not None
    assert power(0.03, 0.01, 64, ALPHA) > 0.8 > power(0.03, 0.01, 62, ALPHA)


def test_one_day_and_nothing_to_divide_by_are_refused() -> None:
    with pytest.raises(ValueError, match="two days"):
        ratio(np.ones(5), np.ones(5), np.zeros(5))
    with pytest.raises(ValueError, match="divide"):
        of_days(np.ones(5), np.zeros(5))


def test_rows_are_far_too_sure_where_days_swing() -> None:
    """The error of one mean difference, by rows and by days, and as it is over many windows."""
    generator, pair = np.random.default_rng(5), Pair(moody(0.3, 0), moody(0.3, 1))
    found = []
    for _ in range(100):
        each = judged(generator, pair, 21)
        by_day = ratio(each.difference, np.ones(len(each.difference)), each.rows.days)
        rows = ttest_1samp(each.difference, 0)
        resampled = generator.choice(each.difference, (50, len(each.difference))).mean(axis=1).std()
        found.append((by_day.value, by_day.error, rows._standard_error, resampled))
    values, errors, of_rows, of_resampled = np.array(found).T
    assert np.mean(errors) == pytest.approx(values.std(), rel=0.25)
    assert np.mean(of_rows) < values.std() / 2
    assert np.mean(of_resampled) < values.std() / 2


def test_delong_is_as_by_definition() -> None:
    """The fast placements are the plain comparisons of every positive with every negative, ties by half."""
    generator = np.random.default_rng(6)
    outcomes = np.repeat([1, 0], [30, 70])
    scores = [(generator.random(100) + 0.2 * outcomes).round(1) for _ in range(2)]
    above = [[[np.sign(p - n) / 2 + 0.5 for n in each[30:]] for p in each[:30]] for each in scores]
    apart = np.array(above[1]) - np.array(above[0])
    variance = apart.mean(axis=1).var(ddof=1) / 30 + apart.mean(axis=0).var(ddof=1) / 70
    z = apart.mean() / np.sqrt(variance)
    assert delong(outcomes, *scores) == pytest.approx(1 - t.cdf(z, 1e9))
    day = np.arange(100) % 10
    difference = roc_auc_score(outcomes, scores[1]) - roc_auc_score(outcomes, scores[0])
    assert of_days(*auc_by_day(outcomes, *scores, day)).value == pytest.approx(difference)
    each = judged(generator, Pair(honest, noisy(0.3)), 14)
    assert 0.5 < delong(each.rows.outcomes, each.champion, each.challenger) <= 1
