"""How far probabilities can be taken at their word: observed over predicted, slope, intercept, expected error."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 10  # of equal mass
LEAST = 1e-7  # scores are kept this far from 0 and 1 before their logit is taken
STEPS = 12  # of Newton's method; it has converged long before


def calibration(outcomes: NDArray[Any], scores: Floats, day: NDArray[np.int64], weights: Floats) -> dict[str, Floats]:
    """Return each figure for each weighting of days, [draws]; `day` is each row's place in the rows of `weights`.

    `ratio` is the number of positives over the sum of the scores. `slope` and `intercept` are those of a logistic
    regression of the outcomes on the logit of the scores (Cox 1958): 1 and 0 where scores are right; a slope below 1
    says over-confident. `ece` is the expected calibration error over ten bins of equal mass (Naeini et al. 2015).
    """
    count = weights.shape[1]

    def by_day(values: NDArray[Any]) -> Floats:
        return np.bincount(day, values, minlength=count).astype(np.float64)

    positives = weights @ by_day(outcomes.astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = positives / (weights @ by_day(scores))
    slope, intercept = recalibrated(outcomes, scores, day, weights)
    cell = bins_of(scores)
    apart = [np.abs(weights @ by_day((scores - outcomes) * (cell == each))) for each in np.unique(cell)]
    return {
        "ece": np.sum(apart, axis=0) / (weights @ np.bincount(day, minlength=count)),
        "slope": slope,
        "intercept": intercept,
        "ratio": ratio,
    }


def bins_of(scores: Floats) -> NDArray[np.int64]:
    """Return each score's place among ten bins of equal mass, [n]; equal scores share one."""
    edges = np.unique(np.quantile(scores, np.arange(1, BINS) / BINS))
    return np.asarray(np.searchsorted(edges, scores))


def reliability(outcomes: NDArray[Any], scores: Floats) -> tuple[Floats, Floats]:
    """Return the mean score and the observed rate of each bin of equal mass, both [bins], from low scores to high."""
    _, place = np.unique(bins_of(scores), return_inverse=True)
    rows = np.bincount(place)
    return np.bincount(place, scores) / rows, np.bincount(place, outcomes) / rows


def recalibrated(
    outcomes: NDArray[Any], scores: Floats, day: NDArray[np.int64], weights: Floats
) -> tuple[Floats, Floats]:
    """Return slope and intercept of the outcomes' logistic regression on the logit, each [draws].

    Rows are summed into narrow cells of one day and one score, so that draws cost days, not rows. NaN where one
    score or one class is all there is.
    """
    draws, count = weights.shape
    logits = to_logit(scores)
    if np.ptp(logits) < 1e-9:
        return np.full(draws, np.nan), np.full(draws, np.nan)
    edges = np.unique(np.quantile(logits, np.linspace(0, 1, 257)))
    cell = np.clip(np.searchsorted(edges, logits, side="right") - 1, 0, len(edges) - 2)
    place, shape = day * (len(edges) - 1) + cell, (count, len(edges) - 1)
    rows = np.bincount(place, minlength=count * shape[1]).reshape(shape)
    middle = np.bincount(cell, logits, minlength=shape[1]) / np.maximum(np.bincount(cell, minlength=shape[1]), 1)
    size = weights @ rows
    hits = weights @ np.bincount(place, outcomes, minlength=count * shape[1]).reshape(shape)
    centre, spread = logits.mean(), logits.std()
    middle = (middle - centre) / spread  # from no slope on standardised logits, Newton's method converges
    rates = hits.sum(axis=1) / size.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        slope, intercept = np.zeros(draws), np.log(rates / (1 - rates))
        for _ in range(STEPS):
            rate = 1 / (1 + np.exp(-(slope[:, None] * middle + intercept[:, None])))
            miss, curve = hits - size * rate, size * rate * (1 - rate)
            g0, g1 = miss.sum(axis=1), miss @ middle
            h0, h1, h2 = curve.sum(axis=1), curve @ middle, curve @ middle**2
            determinant = h0 * h2 - h1**2
            intercept = intercept + (h2 * g0 - h1 * g1) / determinant
            slope = slope + (h0 * g1 - h1 * g0) / determinant
    slope = slope / spread
    intercept = intercept - slope * centre
    some = (hits.sum(axis=1) > 0) & (hits.sum(axis=1) < size.sum(axis=1)) & (np.abs(slope) < 1e3)
    return np.where(some, slope, np.nan), np.where(some, intercept, np.nan)


def to_logit(scores: Floats) -> Floats:
    """Return the log odds of scores in 0..1, kept finite."""
    inside = np.clip(np.asarray(scores, dtype=np.float64), LEAST, 1 - LEAST)
    return np.asarray(np.log(inside / (1 - inside)))


def slope_by_day(outcomes: NDArray[Any], scores: Floats, days: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the recalibration's slope as sums and sizes a day, [days], whose ratio it is; NaN where it has none.

    A day's share is its jackknife pseudo-value (Efron and Tibshirani 1993, chapter 11), so that the ratio's
    cluster-robust error is the slope's.
    """
    named, day = np.unique(days, return_inverse=True)
    count = len(named)
    slopes, _ = recalibrated(outcomes, scores, day, np.vstack([np.ones(count), 1 - np.eye(count)]))
    shares = count * slopes[0] - (count - 1) * slopes[1:]
    return slopes[0] + shares - shares.mean(), np.ones(count)
