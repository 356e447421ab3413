"""Few positives: negatives left out and put back into the score; a slope of the logit that leaves the base rate."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from ml.models.skew import Skewed
from ml.statistics.metrics import losses
from ml.training.calibrate import calibrate, moved, towards

Floats = NDArray[np.float64]
ROWS, KEEP = 200_000, 0.1


def world(seed: int) -> tuple[pd.DataFrame, Floats, NDArray[np.int64]]:
    """Return rows, their true probabilities, one in ten on average, and outcomes drawn from them."""
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame(chance.normal(size=(ROWS, 2)), columns=["a", "b"])
    truth = np.asarray(expit(frame["a"] - 0.7 * frame["b"] - 2.75))
    return frame, truth, (chance.random(ROWS) < truth).astype(np.int64)


def loss(outcomes: NDArray[np.int64], scores: Floats) -> float:
    return float(losses(outcomes, scores)["log_loss"].mean())


def test_corrected_scores_are_probabilities_and_uncorrected_ones_are_off_by_the_factor() -> None:
    (frame, _, outcomes), (later, truth, came) = world(1), world(2)
    skewed = Skewed(LogisticRegression(C=1e6), KEEP, seed=3).fit(frame, outcomes)
    scores = skewed.predict_proba(later)[:, 1]
    error = 4 * np.sqrt(truth.mean() / ROWS + truth.mean() / outcomes.sum())  # fewer rows were learned from
    assert scores.mean() == pytest.approx(truth.mean(), abs=error)
    full = LogisticRegression(C=1e6).fit(frame, outcomes).predict_proba(later)[:, 1]
    assert loss(came, scores) == pytest.approx(loss(came, full), abs=2e-4)
    assert np.abs(scores - truth).max() < 0.05
    uncorrected = skewed.estimator_.predict_proba(later)[:, 1]
    assert np.mean(logit(uncorrected) - logit(truth)) == pytest.approx(-np.log(KEEP), abs=0.05)
    assert loss(came, uncorrected) > loss(came, scores) + 0.1


def test_the_shift_that_goes_into_the_graph_is_the_correction() -> None:
    frame, _, outcomes = world(1)
    skewed = Skewed(LogisticRegression(), KEEP, seed=3).fit(frame[:5000], outcomes[:5000])
    inner, outer = (logit(each.predict_proba(frame[:100])[:, 1]) for each in (skewed.estimator_, skewed))
    assert np.allclose(outer, inner + skewed.shift)
    assert skewed.shift == np.log(KEEP)
    assert np.allclose(skewed.predict_proba(frame[:100]).sum(axis=1), 1)


def test_all_positives_and_the_share_of_negatives_are_fitted_on_in_their_order() -> None:
    frame, _, outcomes = world(1)

    class Seeing(DummyClassifier):
        def fit(self, given: pd.DataFrame, labels: NDArray[np.int64]) -> "Seeing":
            self.given_, self.labels_ = given, labels
            return super().fit(given, labels)

    seen = Skewed(Seeing(), KEEP, seed=3).fit(frame, outcomes).estimator_
    assert seen.labels_.sum() == outcomes.sum()
    negatives = (1 - outcomes).sum()
    assert (1 - seen.labels_).sum() == pytest.approx(KEEP * negatives, abs=5 * np.sqrt(KEEP * negatives))
    assert seen.given_.index.is_monotonic_increasing
    assert (outcomes[seen.given_.index] == seen.labels_).all()


def test_keeping_all_is_the_plain_estimator() -> None:
    frame, _, outcomes = world(1)
    plain = LogisticRegression().fit(frame[:5000], outcomes[:5000])
    skewed = Skewed(LogisticRegression(), 1.0, seed=3).fit(frame[:5000], outcomes[:5000])
    assert skewed.shift == 0
    assert (skewed.estimator_.coef_ == plain.coef_).all()
    assert np.abs(skewed.predict_proba(frame) - plain.predict_proba(frame)).max() <= np.finfo(float).eps


def test_the_same_seed_draws_the_same_negatives() -> None:
    frame, _, outcomes = world(1)
    ours, again, other = (
        Skewed(LogisticRegression(), KEEP, seed).fit(frame[:5000], outcomes[:5000]).predict_proba(frame[:50])
        for seed in (3, 3, 4)
    )
    assert (ours == again).all()
    assert (ours != other).any()


def test_scores_that_an_estimator_keeps_are_not_changed() -> None:
    kept = np.array([[0.5, 0.5], [0.2, 0.8]])

    class Keeping(DummyClassifier):
        def predict_proba(self, _: object) -> Floats:
            return kept

    skewed = Skewed(Keeping(), 0.5, seed=0).fit(pd.DataFrame({"a": [0.0, 1.0]}), np.array([1, 1]))
    first = skewed.predict_proba(None)
    assert (skewed.predict_proba(None) == first).all()
    assert (kept == [[0.5, 0.5], [0.2, 0.8]]).all()


def test_it_is_an_estimator_whose_parameters_can_be_searched() -> None:
    skewed = Skewed(LogisticRegression(), KEEP, seed=3).set_params(estimator__C=0.25, keep=0.5)
    again = clone(skewed)
    assert again.estimator is not skewed.estimator
    assert again.get_params()["estimator__C"] == skewed.estimator.C == 0.25
    assert (again.keep, again.seed) == (0.5, 3)


@pytest.mark.parametrize(("stretched", "slope"), [(1.0, 1.0), (2.0, 0.5), (0.5, 2.0)])
def test_calibration_finds_how_far_logits_were_stretched_and_leaves_the_base_rate(
    stretched: float, slope: float
) -> None:
    _, truth, outcomes = world(1)
    base = truth.mean()
    bases = np.full(ROWS, base)
    wrong = moved(truth, bases, stretched)
    found = calibrate(wrong, bases, outcomes)
    assert found == pytest.approx(slope, rel=0.03)
    calibrated = towards(found, float(base)).applied(wrong)
    assert np.allclose(calibrated, moved(wrong, bases, found))  # what the graph does is what was compared
    assert calibrated.mean() == pytest.approx(base, rel=0.02)
    assert loss(outcomes, calibrated) <= loss(outcomes, wrong) + 1e-9
    at_base = towards(found, float(base)).applied(np.full(1, base))
    assert at_base[0] == pytest.approx(base)


def test_a_rate_that_moved_after_training_does_not_move_the_base() -> None:
    _, truth, _ = world(1)
    outcomes = (np.random.default_rng(4).random(ROWS) < expit(logit(truth) + 0.7)).astype(np.int64)  # a bad month
    base = float(truth.mean())
    slope = calibrate(truth, np.full(ROWS, base), outcomes)
    assert towards(slope, base).applied(np.array([base]))[0] == pytest.approx(base)


def test_the_base_rate_of_each_rows_own_training_days_is_what_stays() -> None:
    scores, bases = np.array([0.3, 0.3]), np.array([0.3, 0.1])
    assert moved(scores, bases, 0.5) == pytest.approx([0.3, expit((logit(0.1) + logit(0.3)) / 2)])


def test_one_score_for_all_has_a_slope_of_exactly_one() -> None:
    *_, outcomes = world(1)
    bases = np.repeat([0.09, 0.11], ROWS // 2)
    assert calibrate(bases, bases, outcomes) == 1.0
    assert towards(1.0, 0.1) == (1.0, 0.0)
