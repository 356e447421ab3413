"""Refuses features that know the outcome: found before any model is fitted, on every training.

Two signatures. A single feature that ranks the outcomes almost alone was made after them; and where the *absence*
of a value goes with one class, the value was filled in by the outcome.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import TargetEncoder

from ml.contract.framing import FILE, framing
from ml.errors import ContractError
from ml.features.rows import Rows
from ml.features.table import CATEGORIES, MISSING, NUMBERS

ENOUGH = 30  # outcomes of a class that would be usual among the missing: fewer say nothing
MEND = f"Remove the feature, or see [leak] in {FILE}"


class Probe(NamedTuple):
    """What one feature alone knows: ROC-AUC of the outcomes, and, by class, usual and found among missing values."""

    feature: str
    auc: float
    missing: int
    usual: tuple[float, float]
    found: tuple[int, int]

    def leaks(self) -> Iterator[str]:
        """Yield a sentence for each way in which the feature knows the outcome."""
        limits = framing().leak
        for label, (usual, found) in enumerate(zip(self.usual, self.found, strict=True)):
            if usual >= ENOUGH and found <= (1 - limits.missing_purity) * usual:
                yield (
                    f"{self.feature} is missing on {self.missing:,} rows, of which {found:,} "
                    f"and not the usual {usual:,.0f} have outcome {label}"
                )
        if self.auc >= limits.single_feature_auc:
            yield f"{self.feature} alone ranks the outcomes with ROC-AUC {self.auc:.3f}"


def probes(rows: Rows) -> list[Probe]:
    """Probe every feature alone."""
    numbers = [(feature.name, rows.inputs.numbers[:, place]) for place, feature in enumerate(NUMBERS)]
    categories = [(feature.name, rows.inputs.categories[:, place]) for place, feature in enumerate(CATEGORIES)]
    found = [_probe(name, values.astype(np.float64), np.isnan(values), rows.outcomes) for name, values in numbers]
    for name, values in categories:
        encoder = TargetEncoder(cv=StratifiedKFold())  # the rate of outcomes that a value had among other rows
        encoded = np.asarray(encoder.fit_transform(values[:, None], rows.outcomes)[:, 0])
        found.append(_probe(name, encoded, values == MISSING, rows.outcomes))
    return found


def _probe(name: str, values: NDArray[np.float64], missing: NDArray[np.bool_], outcomes: NDArray[np.int64]) -> Probe:
    present = ~np.isnan(values)
    known = outcomes[present]
    auc = float(roc_auc_score(known, values[present])) if 0 < known.sum() < len(known) else 0.5
    rate, among = float(outcomes.mean()), outcomes[missing]
    usual = ((1 - rate) * len(among), rate * len(among))
    return Probe(name, max(auc, 1 - auc), len(among), usual, (int((among == 0).sum()), int((among == 1).sum())))


def refuse_leaks(found: list[Probe]) -> None:
    """Raise ContractError when a feature knows the outcome."""
    if said := [sentence for probe in found for sentence in probe.leaks()]:
        raise ContractError("leakage", "; ".join(said), MEND)
