"""What a model's scores come from: permutation importance for any graph, TreeSHAP contributions for trees."""

from typing import Any

import numpy as np

from ml.contract.framing import framing
from ml.contract.scorer import Scorer
from ml.features.rows import Rows
from ml.features.table import CATEGORIES, NAMES, NUMBERS, Inputs
from ml.models.skew import Skewed
from ml.progress import track
from ml.statistics.metrics import losses


def permutation_importance(scorer: Scorer, rows: Rows, seed: int) -> dict[str, float]:
    """Return by how much the primary metric grows when a feature's values are shuffled (Breiman 2001), by feature."""

    def loss(inputs: Inputs) -> float:
        return float(losses(rows.outcomes, scorer.score(inputs))[framing().task.metric].mean())

    order, usual, found = np.random.default_rng(seed).permutation(len(rows.outcomes)), loss(rows.inputs), {}
    for name in track(NAMES, "explaining", total=len(NAMES)):
        numbers, categories = rows.inputs.numbers.copy(), rows.inputs.categories.copy()
        place = NAMES.index(name)
        column = numbers[:, place] if place < len(NUMBERS) else categories[:, place - len(NUMBERS)]
        column[:] = column[order]
        found[name] = loss(Inputs(numbers, categories)) - usual
    return found


def contributions(estimator: Any, rows: Rows) -> dict[str, float]:
    """Return the mean absolute TreeSHAP contribution (Lundberg et al. 2020) of each feature, in logits; {} for others.

    Where a pipeline encodes every feature as one column, in the order of the model's inputs, a column is a feature.
    """
    inner = estimator.estimator_ if isinstance(estimator, Skewed) else estimator
    trees = inner[-1] if hasattr(inner, "steps") else inner
    if not hasattr(trees, "booster_"):
        return {}
    encoded = inner[:-1].transform(rows.frame) if hasattr(inner, "steps") else rows.frame
    if encoded.shape[1] != len(NUMBERS) + len(CATEGORIES):
        return {}
    shares = np.abs(trees.predict(encoded, pred_contrib=True)[:, :-1]).mean(axis=0)
    return dict(zip(NAMES, shares.tolist(), strict=True))
