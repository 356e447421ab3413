"""The signals of concept drift: what came of predictions minus what their scores had let expect, over matured labels.

Calibrated scores say beforehand how many outcomes will be positive, how large the loss will be, and that twice the odds
are twice the odds. All that stays right when inputs move, and fails when the relation of inputs to the outcome does:
`rate` is observed minus predicted, `loss` realised minus estimated, and `slope` the slope of the recalibrated logit
minus 1, which is negative where scores order records less well than they claim.

Days and weeks swing widely without any drift, so limits are learned from the reference's days, as many as the window
has: by drawing them in blocks, which knows how skewed they are, and by Student's t, which knows how few they are and
that the reference errs, too. The wider counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ml.contract.framing import framing
from ml.contract.reference import Reference
from ml.monitoring.daily import Daily
from ml.statistics.bootstrap import ratio_of_sums, resampled_days
from ml.statistics.longrun import long_run, student

Floats = NDArray[np.float64]
Name = Literal["rate", "loss", "slope"]

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


@dataclass(frozen=True)
class Past:
    """A mean over the reference's days that the model had not seen, as its sums over sizes, such as rows; [days] each.

    On days that it was fitted on a model errs less than on any day to come.
    """

    sums: Floats
    sizes: Floats

    @classmethod
    def of(cls, reference: Reference, name: Name | Literal["estimated"]) -> "Past":
        """Return the past of a signal, or of the estimated loss."""
        unseen, rows = np.array(reference.unseen), np.array(reference.rows, dtype=np.float64)
        sums, sizes = {
            "rate": (np.array(reference.observed) - np.array(reference.predicted), rows),
            "loss": (np.array(reference.realised) - np.array(reference.estimated), rows),
            "slope": (np.array(reference.slope), np.array(reference.information)),
            "estimated": (np.array(reference.estimated), rows),
        }[name]
        return cls(sums[unseen], sizes[unseen])

    def windows(self, days: int, draws: int, seed: int) -> Floats:
        """Return the mean in windows of `days` days drawn in blocks, [draws]."""
        drawn = resampled_days(len(self.sizes), draws, seed, length=days, block=framing().alarm.block_days)
        return ratio_of_sums(self.sums, self.sizes, drawn)

    def limits(self, days: int, tail: float) -> tuple[float, float]:
        """Return outside of which the mean of `days` days lies with probability `tail`, on each side."""
        usual = float(self.sums.sum() / self.sizes.sum())
        apart = long_run(((self.sums - usual * self.sizes) / self.sizes.mean())[:, None], framing().alarm.block_days)
        margin = student(apart, 1 - tail) * np.sqrt(1 / days + 1 / len(self.sizes))
        low, high = np.quantile(self.windows(days, DRAWS, SEED), [tail, 1 - tail])
        return float(min(low, usual - margin)), float(max(high, usual + margin))


def signals(reference: Reference, window: Daily) -> Iterator[Signal]:
    """Yield the signals of a window's days that have outcomes; together they are as rarely wrong as asked.

    A model that gives all records of a day one score has no slope.
    """
    tail = framing().alarm.false_alarm_rate / len(get_args(Name)) / 2
    known, rows = window.with_outcomes, window.matured.sum()
    days, information = len(known.days), known.information.sum()
    values: dict[Name, float] = {
        "rate": float((known.observed - known.predicted).sum() / rows),
        "loss": float((known.realised - known.estimated).sum() / rows),
    }
    if information and sum(reference.information):
        values["slope"] = float(known.slope.sum() / information)
    for name, value in values.items():
        past = Past.of(reference, name)
        low, high = past.limits(days, tail)
        fresh = past.windows(days, CHECKS, SEED + 1)
        yield Signal(name, value, low, high, float(((fresh < low) | (fresh > high)).mean()), fresh)


def highest_estimate(reference: Reference, days: int) -> float:
    """Return the estimated loss a row that a window like the reference's exceeds as rarely as a false alarm may be."""
    return Past.of(reference, "estimated").limits(days, framing().alarm.false_alarm_rate)[1]
