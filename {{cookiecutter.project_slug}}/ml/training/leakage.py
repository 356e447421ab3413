"""Refuses features that know the outcome: found before any model is fitted, on every training.

Two signatures. A single feature that ranks the outcomes almost alone was made after them; and where the *absence*
of a value goes with one class, the value was filled in by the outcome.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import TargetEncoder

from ml.contract.framing import FILE, framing
from ml.errors import ContractError
from ml.features.table import CATEGORIES, MISSING, NUMBERS
from ml.training.window import Part

ENOUGH = 30  # outcomes of a class that would be usual among the missing: fewer say nothing
MEND = f"Remove the feature, or see [leak] in {FILE}"


def leaks(part: Part) -> Iterator[str]:
    """Yield a sentence for each feature that leaks."""
    columns: list[tuple[str, NDArray[Any]]] = [
        (feature.name, part.inputs.numbers[:, place]) for place, feature in enumerate(NUMBERS)
    ]
    columns += [(feature.name, _encoded(part, place)) for place, feature in enumerate(CATEGORIES)]
    absent = {feature.name: np.isnan(part.inputs.numbers[:, place]) for place, feature in enumerate(NUMBERS)}
    absent |= {feature.name: part.inputs.categories[:, place] == MISSING for place, feature in enumerate(CATEGORIES)}
    limits = framing().leak
    for name, values in columns:
        missing = absent[name]
        for label in (0, 1):
            usual, found = (part.outcomes == label).mean(), (part.outcomes[missing] == label).sum()
            expected = usual * missing.sum()
            if expected >= ENOUGH and found <= (1 - limits.missing_purity) * expected:
                yield (
                    f"{name} is missing on {missing.sum():,} rows, of which {found:,} "
                    f"and not the usual {expected:,.0f} have outcome {label}"
                )
        present = ~np.isnan(values)
        outcomes = part.outcomes[present]
        if 0 < outcomes.sum() < len(outcomes):
            auc = roc_auc_score(outcomes, values[present])
            if max(auc, 1 - auc) >= limits.single_feature_auc:
                yield f"{name} alone ranks the outcomes with ROC-AUC {max(auc, 1 - auc):.3f}"


def _encoded(part: Part, place: int) -> NDArray[np.float64]:
    """Return a category as the rate of outcomes that it had among other rows."""
    encoder = TargetEncoder(cv=StratifiedKFold())
    return np.asarray(encoder.fit_transform(part.inputs.categories[:, [place]], part.outcomes)[:, 0])


def refuse_leaks(part: Part) -> None:
    """Raise ContractError when a feature knows the outcome."""
    if found := list(leaks(part)):
        raise ContractError("leakage", "; ".join(found), MEND)
