"""What a model's loss should be by its own scores: known before any outcome, right as long as they are calibrated.

Where inputs move and the relation to the outcome does not, calibrated scores stay calibrated, and the estimate moves
with the realised loss. Where the relation itself moves, realised minus estimated is what shows it.
"""

import numpy as np
from numpy.typing import NDArray

from ml.statistics.metrics import losses

Floats = NDArray[np.float64]


def expected_losses(scores: Floats) -> dict[str, Floats]:
    """Return each row's expected log loss (nats) and Brier loss where its score is the probability it claims, [n]."""
    if_positive, if_negative = losses(np.ones(len(scores)), scores), losses(np.zeros(len(scores)), scores)
    return {name: scores * if_positive[name] + (1 - scores) * if_negative[name] for name in if_positive}
