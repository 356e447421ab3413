"""The alarm: mean observed minus mean predicted over matured labels, against how such windows differ in training.

Days and weeks swing widely without any drift, so the threshold is learned from blocks of the reference's days:
as many days as the window has, drawn again and again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.contract.framing import framing
from ml.contract.reference import Reference
from ml.statistics.bootstrap import ratio_of_sums, resampled_days

DRAWS = 4000
CHECKS = 1000  # fresh windows of the reference on which the threshold is tried
SEED = 0


@dataclass(frozen=True)
class Signal:
    """Observed minus predicted rate, the limits outside of which it alarms, and how often chance alone is outside."""

    value: float
    low: float
    high: float
    false_alarms: float
    by_chance: NDArray[np.float64]

    @property
    def alarms(self) -> bool:
        """Whether the window differs from the reference by more than its windows differ among themselves."""
        return not self.low <= self.value <= self.high


def windows(reference: Reference, days: int, draws: int, seed: int) -> NDArray[np.float64]:
    """Return observed minus predicted rate of windows of `days` days drawn in blocks from the reference, [draws].

    Only days that the model had not seen: on those it was fitted on it errs less than on any day to come.
    """
    unseen = np.array(reference.unseen)
    drawn = resampled_days(int(unseen.sum()), draws, seed, length=days, block=framing().alarm.block_days)
    apart = np.array(reference.observed) - np.array(reference.predicted)
    return ratio_of_sums(apart[unseen], np.array(reference.rows, dtype=np.float64)[unseen], drawn)


def limits(reference: Reference, days: int) -> tuple[float, float]:
    """Return the limits for a window of `days` days: the framing's share of the reference's windows lies outside."""
    rate = framing().alarm.false_alarm_rate
    low, high = np.quantile(windows(reference, days, DRAWS, SEED), [rate / 2, 1 - rate / 2])
    return float(low), float(high)


def signal(reference: Reference, outcomes: NDArray[np.float64], scores: NDArray[np.float64], days: int) -> Signal:
    """Judge a window of matured rows that spans `days` days."""
    low, high = limits(reference, days)
    fresh = windows(reference, days, CHECKS, SEED + 1)
    false_alarms = float(((fresh < low) | (fresh > high)).mean())
    return Signal(float(outcomes.mean() - scores.mean()), low, high, false_alarms, fresh)
