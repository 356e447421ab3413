"""Input and score drift: how far each distribution is from training, and how far a window would be by chance.

The distance is Jensen-Shannon's (Lin 1991, base 2, square root), in 0..1. Its threshold comes from windows of the
reference's own days, and never lies below the framing's floor: a shift that nobody would act on is none.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.contract.events import LOGGED
from ml.contract.framing import framing
from ml.contract.profile import Profile
from ml.contract.reference import Reference, Variable
from ml.features.table import SCORE
from ml.monitoring.observations import Observations
from ml.problem.schema import PERSONAL
from ml.statistics.bootstrap import resampled_days

DRAWS = 500
SEED = 0
SMOOTHING = 0.5  # pseudo-count a cell

# The others were hashed, or left out of the log.
AS_SERVED = {each.name for each in LOGGED if each.field not in PERSONAL} | {SCORE}


@dataclass(frozen=True)
class Drift:
    """One variable's distance from training, its threshold, and the shares of both in the variable's cells."""

    name: str
    calendar: bool
    distance: float
    threshold: float
    trained: NDArray[np.float64]
    served: NDArray[np.float64]

    @property
    def drifted(self) -> bool:
        """Whether it moved further than chance; calendar features move by definition and are exempt."""
        return not self.calendar and self.distance > self.threshold


def distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Jensen-Shannon distance of counts over the last axis, after smoothing."""
    left, right = _shares(one), _shares(other)
    middle = (left + right) / 2
    divergence = (left * np.log2(left / middle) + right * np.log2(right / middle)).sum(axis=-1) / 2
    return np.asarray(np.sqrt(np.maximum(divergence, 0)))


def _shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    smoothed = np.asarray(counts, dtype=np.float64) + SMOOTHING
    return np.asarray(smoothed / smoothed.sum(axis=-1, keepdims=True))


def profile(window: Observations) -> Profile:
    """Profile the served features and scores day by day, and merge the days."""
    frame = window.features.assign(**{SCORE: window.scores})
    parts = [Profile.of(part) for _, part in frame.groupby(window.days)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    return merged


def drifts(reference: Reference, served: Profile, days: int) -> Iterator[Drift]:
    """Yield every variable's drift over a window of `days` days."""
    drawn = resampled_days(len(reference.days), DRAWS, SEED, length=days, block=framing().alarm.block_days)
    for variable in reference.variables:
        if variable.name not in AS_SERVED:
            continue
        by_day = np.array(variable.counts, dtype=np.float64)
        counts = served.counts(variable.name, variable.bins).astype(np.float64)
        by_chance = distance(by_day[drawn].sum(axis=1), by_day.sum(axis=0))
        threshold = max(
            float(np.quantile(by_chance, 1 - framing().alarm.false_alarm_rate)), framing().alarm.drift_floor
        )
        yield Drift(
            variable.name,
            variable.calendar,
            float(distance(counts, by_day.sum(axis=0))),
            threshold,
            _shares(by_day.sum(axis=0)),
            _shares(counts),
        )


def cells(variable: Variable) -> list[str]:
    """Return what each cell of a variable holds, in words."""
    if variable.bins.kind == "category":
        return [*variable.bins.named, "other", "missing"]
    edges = [f"{edge:.3g}" for edge in variable.bins.edges]
    return [*[f"to {edge}" for edge in edges], f"over {edges[-1]}" if edges else "any", "missing"]


def summary(trained: Profile, served: Profile, names: list[str]) -> pd.DataFrame:
    """Return count, share missing, mean and number of distinct values of both profiles, a row a variable."""
    return pd.DataFrame(
        {name: {**_named("trained", trained, name), **_named("served", served, name)} for name in names}
    ).T


def _named(prefix: str, profile: Profile, name: str) -> dict[str, float]:
    return {f"{prefix}_{key}": value for key, value in profile.summary(name).items()}
