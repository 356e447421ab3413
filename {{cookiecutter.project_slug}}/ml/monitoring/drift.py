"""Drift of inputs and scores: how far each distribution lies from training, and whether a window could by chance.

A variable drifted where neither chance nor a shift that nobody would act on explains its distance, over all variables
together, the important ones first. Where a window is too small, or days swing too much, to see a shift that matters,
the answer is inconclusive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.contract.events import LOGGED
from ml.contract.framing import framing
from ml.contract.profile import Profile
from ml.contract.reference import Reference, Variable
from ml.features.table import SCORE
from ml.problem.schema import PERSONAL
from ml.statistics.many import discoveries, weights_of
from ml.statistics.shift import Chance, Days, hellinger, psi

Floats = NDArray[np.float64]
Answer = Literal["drift", "none", "inconclusive", "exempt"]

# The others were hashed, or left out of the log.
AS_SERVED = {each.name for each in LOGGED if each.field not in PERSONAL} | {SCORE}


@dataclass(frozen=True)
class Drift:
    """One variable's distance from training, what it is judged by, the answer, and both shares of its cells.

    `threshold` is the distance from which this variable drifts whatever the others do, `power` how often a relevant
    shift is seen beyond it, `weight` how much the variable matters, 1 on average; `psi` is shown only. A variable of
    the calendar moves by definition, and is exempt.
    """

    name: str
    answer: Answer
    distance: float
    threshold: float
    power: float
    weight: float
    psi: float
    trained: Floats
    served: Floats


def merged(profiles: Mapping[str, Profile]) -> Profile:
    """Return one profile of all days."""
    first, *others = profiles.values()
    for other in others:
        first = first.merge(other)
    return first


def drifts(reference: Reference, served: Mapping[str, Profile], importance: Mapping[str, float]) -> list[Drift]:
    """Return every variable's drift over the days of some profiles, each of them by its ISO 8601 day.

    `importance` says how much the model's loss owes to a feature; the score matters as much as the most important one.
    """
    alarm, most = framing().alarm, max(importance.values(), default=0.0)
    measured = [_measure(reference, each, served) for each in reference.variables if each.name in AS_SERVED]
    moving = [each for each in measured if not each.variable.calendar]
    weights = weights_of(np.array([importance.get(each.variable.name, most) for each in moving]))
    p_values = np.array([each.chance.p_value(each.distance, alarm.drift_floor) for each in moving])
    found = discoveries(p_values, weights, alarm.false_alarm_rate)
    by_name = {each.variable.name: place for place, each in enumerate(moving)}
    return [
        each.judged(weights[place], alarm.false_alarm_rate * weights[place] / len(moving), found[place])
        if (place := by_name.get(each.variable.name)) is not None
        else each.judged(0.0, alarm.false_alarm_rate, None)
        for each in measured
    ]


class _Measured(NamedTuple):
    """How far one variable lies from training, and how far it would by chance."""

    variable: Variable
    distance: float
    chance: Chance
    trained: Floats
    served: Floats

    def judged(self, weight: float, level: float, found: bool | None) -> Drift:
        """Return the answer: `found` beyond chance or not, or None where the variable is exempt."""
        alarm = framing().alarm
        threshold = self.chance.threshold(level, alarm.drift_floor)
        power = self.chance.power(alarm.relevant_shift, threshold)
        answer: Answer = "none" if power >= alarm.power else "inconclusive"
        if found is None:
            answer = "exempt"
        elif found:
            answer = "drift"
        apart = psi(self.served, self.trained)
        return Drift(
            self.variable.name, answer, self.distance, threshold, power, weight, apart, self.trained, self.served
        )


def _measure(reference: Reference, variable: Variable, served: Mapping[str, Profile]) -> _Measured:
    counts = np.array([each.counts(variable.name, variable.bins) for each in served.values()], dtype=np.float64)
    unseen = np.array(reference.unseen)
    trained = Days(
        np.array(variable.counts, dtype=np.float64)[unseen],
        _weekdays(reference.days)[unseen],
        framing().alarm.block_days,
    )
    expected = trained.expected(_weekdays(list(served)), counts.sum(axis=1))
    window = counts.sum(axis=0) / max(counts.sum(), 1)
    chance = trained.chance(counts.sum(), len(counts))
    return _Measured(variable, float(hellinger(window, expected)), chance, expected, window)


def _weekdays(days: Sequence[str]) -> NDArray[np.int64]:
    return np.asarray(np.array(days, dtype="datetime64[D]").astype(np.int64) % 7)


def cells(variable: Variable) -> list[str]:
    """Return what each cell of a variable holds, in words."""
    if variable.bins.kind == "category":
        return [*variable.bins.named, "other", "missing"]
    edges = [f"{edge:,.0f}" if abs(edge) >= 1000 else f"{edge:.3g}" for edge in variable.bins.edges]
    return [*[f"to {edge}" for edge in edges], f"over {edges[-1]}" if edges else "any", "never in training", "missing"]


def summary(trained: Profile, served: Profile, names: list[str]) -> pd.DataFrame:
    """Return count, share missing, mean and number of distinct values of both profiles, a row a variable."""
    return pd.DataFrame(
        {name: {**_named("trained", trained, name), **_named("served", served, name)} for name in names}
    ).T


def _named(prefix: str, profile: Profile, name: str) -> dict[str, float]:
    return {f"{prefix}_{key}": value for key, value in profile.summary(name).items()}
