"""Resampling and metrics: equal to scikit-learn's, and honest about days."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from ml.statistics.bootstrap import interval, ratio_of_sums, resampled_days
from ml.statistics.metrics import Costs, estimates, metrics

COSTS = Costs(1, 3)  # the threshold is 0.25

LIBRARY = {
    "log_loss": lambda y, s, w: log_loss(y, s, sample_weight=w, labels=[0, 1]),
    "brier": lambda y, s, w: brier_score_loss(y, s, sample_weight=w),
    "roc_auc": lambda y, s, w: roc_auc_score(y, s, sample_weight=w),
    "pr_auc": lambda y, s, w: average_precision_score(y, s, sample_weight=w),
    "recall": lambda y, s, w: recall_score(y, s >= 0.25, sample_weight=w),
    "precision": lambda y, s, w: precision_score(y, s >= 0.25, sample_weight=w),
    "f1": lambda y, s, w: f1_score(y, s >= 0.25, sample_weight=w),
    "acted": lambda y, s, w: np.average(s >= 0.25, weights=w),
    "cost": lambda y, s, w: 1000 * np.average(np.where(s >= 0.25, 1 - y, 3 * y), weights=w),
    "cost_without_model": lambda y, s, w: 1000 * min(np.average(1 - y, weights=w), 3 * np.average(y, weights=w)),
    "ratio": lambda y, s, w: np.average(y, weights=w) / np.average(s, weights=w),
}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 19), st.integers(0, 3)), min_size=6, max_size=60),
    st.lists(st.integers(1, 4), min_size=4, max_size=4),
)
def test_every_metric_equals_scikit_learns_with_ties_and_weighted_days(
    rows: list[tuple[bool, int, int]], weights: list[int]
) -> None:
    outcomes = np.array([0, 1, *(int(positive) for positive, _, _ in rows)])
    scores = np.array([0.5, 0.5, *(score / 20 for _, score, _ in rows)])
    days = np.array([0, 1, *(day for _, _, day in rows)])
    named, day = np.unique(days, return_inverse=True)
    weight = np.array(weights[: len(named)], dtype=float)
    found = metrics(outcomes, scores, days, COSTS, weight[None, :])
    for name, library in LIBRARY.items():
        assert found[name][0] == pytest.approx(library(outcomes, scores, weight[day]), abs=1e-9), name


def test_a_draw_with_one_class_only_says_nothing_about_ranking() -> None:
    found = metrics(np.array([1, 1, 0]), np.array([0.2, 0.7, 0.1]), np.array([0, 0, 1]), COSTS, np.array([[1.0, 0.0]]))
    assert np.isnan(found["roc_auc"][0])
    assert interval(np.array([np.nan, 1.0, 2.0, np.nan])) == (pytest.approx(1.025), pytest.approx(1.975))


def test_days_are_drawn_in_blocks_of_days_that_follow_each_other() -> None:
    drawn = resampled_days(30, draws=500, seed=1, length=10, block=5)
    assert drawn.shape == (500, 10)
    steps = np.diff(drawn.reshape(500, 2, 5), axis=2) % 30
    assert (steps == 1).all()
    assert set(np.unique(drawn)) == set(range(30))


def test_the_interval_over_days_covers_where_one_over_rows_would_not() -> None:
    """Two hundred worlds with day effects: the interval of the log loss holds the truth in about 95 of 100."""
    generator = np.random.default_rng(7)
    days, rows = 40, 200
    truth = -(0.2 * np.log(0.2) + 0.8 * np.log(0.8))  # of a constant score of 0.2 where days average 0.2
    covered = {"days": 0, "rows": 0}
    for world in range(200):
        rates = np.clip(generator.normal(0.2, 0.1, days), 0.01, 0.99)
        outcomes = (generator.random((days, rows)) < rates[:, None]).astype(int)
        losses = np.where(outcomes == 1, -np.log(0.2), -np.log(0.8))
        by_day = ratio_of_sums(losses.sum(axis=1), np.full(days, float(rows)), resampled_days(days, 200, world))
        by_row = generator.choice(losses.ravel(), (200, losses.size // 10)).mean(axis=1)
        narrow = (by_row - by_row.mean()) / np.sqrt(10) + losses.mean()  # as if of all rows
        for name, values in (("days", by_day), ("rows", narrow)):
            low, high = interval(values)
            covered[name] += low <= truth <= high
    assert covered["days"] >= 175
    assert covered["rows"] <= 120


def test_estimates_are_the_same_for_the_same_seed() -> None:
    generator = np.random.default_rng(3)
    scores, days = generator.random(400), np.repeat(np.arange(8), 50)
    outcomes = (generator.random(400) < scores).astype(int)
    assert estimates(outcomes, scores, days, COSTS, seed=1) == estimates(outcomes, scores, days, COSTS, seed=1)
    found = estimates(outcomes, scores, days, COSTS, seed=1)["roc_auc"]
    assert found.low < found.value < found.high


def test_slope_and_intercept_are_those_of_a_logistic_regression_on_the_logit() -> None:
    generator = np.random.default_rng(5)
    logits = generator.normal(-2, 0.6, 4000)
    outcomes = (generator.random(4000) < 1 / (1 + np.exp(-(0.6 * logits + 0.4)))).astype(int)
    days = np.repeat(np.arange(8), 500)
    found = estimates(outcomes, 1 / (1 + np.exp(-logits)), days, COSTS, draws=50)
    library = LogisticRegression(C=1e9, tol=1e-9).fit(logits[:, None], outcomes)
    assert found["slope"].value == pytest.approx(library.coef_[0, 0], abs=5e-3)  # rows are summed in narrow cells
    assert found["intercept"].value == pytest.approx(library.intercept_[0], abs=5e-3)
    assert found["slope"].low < 0.6 < found["slope"].high


def test_the_expected_calibration_error_is_that_of_ten_bins_of_equal_mass() -> None:
    scores = np.linspace(0.05, 0.95, 1000)
    outcomes = np.tile([0, 1], 500)
    found = estimates(outcomes, scores, np.repeat(np.arange(2), 500), COSTS)["ece"].value
    bins = zip(np.array_split(scores, 10), np.array_split(outcomes, 10), strict=True)
    assert found == pytest.approx(np.mean([abs(said.mean() - came.mean()) for said, came in bins]))


def test_what_is_not_defined_is_none_and_not_a_number() -> None:
    found = estimates(np.array([0, 1, 0, 1]), np.full(4, 0.1), np.array([0, 0, 1, 1]), COSTS)
    assert found["slope"] == (None, None, None)
    assert found["precision"] == (None, None, None)  # nobody acts
    assert str(found["slope"]) == "none"
