"""What a model's loss should be by its own scores: known before any outcome, right as long as they are calibrated.

Where inputs move and the relation to the outcome does not, calibrated scores stay calibrated, and the estimate moves
with the realised loss. Where the relation itself moves, realised minus estimated is what shows it.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from ml.statistics.metrics import losses

Floats = NDArray[np.float64]

EDGE = 1e-9  # a score is kept so far from 0 and 1


def expected_losses(scores: Floats) -> dict[str, Floats]:
    """Return each row's expected log loss (nats) and Brier loss where its score is the probability it claims, [n]."""
    if_positive, if_negative = losses(np.ones(len(scores)), scores), losses(np.zeros(len(scores)), scores)
    return {name: scores * if_positive[name] + (1 - scores) * if_negative[name] for name in if_positive}


def slope_terms(outcomes: Floats, scores: Floats, day: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return of each day the terms of the slope of recalibrated logits minus 1, one step from 1; [days] each.

    It is the sum of the first over that of the second, the information (Cox 1958). What shifts all logits of a day
    alike is taken off day by day; where scores order records less well than they claim, it is negative. A day on which
    all scores are the same knows nothing: both are 0.
    """
    logits, weights = logit(np.clip(scores, EDGE, 1 - EDGE)), scores * (1 - scores)
    usual = np.bincount(day, weights * logits) / np.maximum(np.bincount(day, weights), EDGE)
    apart = logits - usual[day]
    apart[np.abs(apart) < EDGE] = 0  # else what rounding leaves would be divided by its own square
    terms, information = (outcomes - scores) * apart, weights * apart**2
    return np.bincount(day, terms).astype(np.float64), np.bincount(day, information).astype(np.float64)


def sums_by_day(outcomes: Floats, scores: Floats, day: NDArray[np.int64], metric: str) -> dict[str, Floats]:
    """Return of each day the sums of `observed` outcomes and `predicted` scores; [days] each, as all that follows.

    `realised` are sums of a metric's losses, `estimated` of what the scores let expect of it; `slope` and `information`
    are the terms of the slope.
    """
    rows = {
        "observed": outcomes,
        "predicted": scores,
        "realised": losses(outcomes, scores)[metric],
        "estimated": expected_losses(scores)[metric],
    }
    slope, information = slope_terms(outcomes, scores, day)
    sums = {name: np.bincount(day, values).astype(np.float64) for name, values in rows.items()}
    return sums | {"slope": slope, "information": information}
