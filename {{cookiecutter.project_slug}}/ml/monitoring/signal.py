"""The signals of concept drift: what came of predictions minus what their scores had let expect, over matured labels.

Calibrated scores say beforehand how many outcomes will be positive, and how large the loss will be; both stay right
when inputs move, and fail when the relation of inputs to the outcome does. Days and weeks swing widely without any
drift, so limits are learned from blocks of the reference's days: as many days as the window has, drawn again and again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.contract.framing import framing
from ml.contract.reference import Reference
from ml.statistics.bootstrap import ratio_of_sums, resampled_days
from ml.statistics.metrics import losses
from ml.statistics.unlabelled import expected_losses

Floats = NDArray[np.float64]
Name = Literal["rate", "loss"]  # of positives, and of the primary metric

DRAWS = 4000
CHECKS = 1000  # fresh windows of the reference on which the limits are tried
SEED = 0


@dataclass(frozen=True)
class Signal:
    """Realised minus estimated, the limits outside of which it alarms, and how often chance alone is outside."""

    name: Name
    value: float
    low: float
    high: float
    false_alarms: float
    by_chance: Floats

    @property
    def alarms(self) -> bool:
        """Whether the window differs from the reference by more than its windows differ among themselves."""
        return not self.low <= self.value <= self.high


def signals(reference: Reference, outcomes: Floats, scores: Floats, days: int) -> Iterator[Signal]:
    """Yield both signals of a window of matured rows over `days` days; together they are as rarely wrong as asked."""
    metric = framing().task.metric
    realised = {"rate": outcomes, "loss": losses(outcomes, scores)[metric]}
    estimated = {"rate": scores, "loss": expected_losses(scores)[metric]}
    rate = framing().alarm.false_alarm_rate / len(realised)
    for name in ("rate", "loss"):
        low, high = np.quantile(windows(reference, name, days, DRAWS, SEED), [rate / 2, 1 - rate / 2])
        fresh = windows(reference, name, days, CHECKS, SEED + 1)
        outside = float(((fresh < low) | (fresh > high)).mean())
        value = float((realised[name] - estimated[name]).mean())
        yield Signal(name, value, float(low), float(high), outside, fresh)


def windows(reference: Reference, name: Name, days: int, draws: int, seed: int) -> Floats:
    """Return a signal in windows of `days` days drawn in blocks from the reference, [draws]."""
    return _drawn(reference, _apart(reference)[name], days, draws, seed)


def highest_estimate(reference: Reference, days: int) -> float:
    """Return the estimated loss a row that a window like the reference's exceeds as rarely as a false alarm may be."""
    drawn = _drawn(reference, np.array(reference.estimated), days, DRAWS, SEED)
    return float(np.quantile(drawn, 1 - framing().alarm.false_alarm_rate))


def _apart(reference: Reference) -> dict[Name, Floats]:
    return {
        "rate": np.array(reference.observed) - np.array(reference.predicted),
        "loss": np.array(reference.realised) - np.array(reference.estimated),
    }


def _drawn(reference: Reference, sums: Floats, days: int, draws: int, seed: int) -> Floats:
    """Draw only days that the model had not seen: on those it was fitted on it errs less than on any day to come."""
    unseen = np.array(reference.unseen)
    drawn = resampled_days(int(unseen.sum()), draws, seed, length=days, block=framing().alarm.block_days)
    return ratio_of_sums(sums[unseen], np.array(reference.rows, dtype=np.float64)[unseen], drawn)
