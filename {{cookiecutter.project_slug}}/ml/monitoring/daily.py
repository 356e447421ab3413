"""What was served, summed by day: as small for a million predictions a day as for ten."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from ml.contract.framing import framing
from ml.monitoring.observations import Observations
from ml.statistics.unlabelled import expected_losses, sums_by_day

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Daily:
    """Sums of served predictions by day; [days] each, in order.

    `served` counts rows, and `expected` sums the losses that their scores let expect; all others are of the rows that
    have an outcome: `matured` counts them, and what the rest are, `sums_by_day` says.
    """

    days: NDArray[np.str_]
    served: Floats
    expected: Floats
    matured: Floats
    observed: Floats
    predicted: Floats
    realised: Floats
    estimated: Floats
    slope: Floats
    information: Floats

    @classmethod
    def of(cls, rows: Observations) -> "Daily":
        """Sum up rows."""
        metric = framing().task.metric
        days, place = np.unique(rows.days, return_inverse=True)
        known = rows.where(rows.matured)
        with_outcome, day = np.unique(place[rows.matured], return_inverse=True)
        sums = {"matured": np.bincount(day), **sums_by_day(known.outcomes, known.scores, day, metric)}
        whole = {name: np.zeros(len(days)) for name in sums}
        for name, values in sums.items():
            whole[name][with_outcome] = values
        expected = np.bincount(place, expected_losses(rows.scores)[metric]).astype(np.float64)
        return cls(days, np.bincount(place).astype(np.float64), expected, **whole)

    @classmethod
    def together(cls, parts: Sequence["Daily"]) -> "Daily":
        """Return days that follow each other as one."""
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))

    def where(self, chosen: NDArray[np.bool_]) -> "Daily":
        """Return some of the days, [days]."""
        return Daily(*(getattr(self, each.name)[chosen] for each in fields(self)))

    @property
    def with_outcomes(self) -> "Daily":
        """The days that have outcomes: those that signals and limits are about."""
        return self.where(self.matured > 0)

    @property
    def span(self) -> tuple[date, date] | None:
        """The first and the last day; None where there are none."""
        return (date.fromisoformat(self.days[0]), date.fromisoformat(self.days[-1])) if len(self.days) else None

    def window(self, until: date | None, length: int) -> "Daily":
        """Return the newest `length` days with an outcome, up to `until`."""
        return self._newest(self.days[self.matured > 0], until, length)

    def newest(self, until: date | None, length: int) -> "Daily":
        """Return the newest `length` days of all that was served, up to `until`: inputs are known before outcomes."""
        return self._newest(self.days, until, length)

    def _newest(self, days: NDArray[np.str_], until: date | None, length: int) -> "Daily":
        days = days[days <= str(until)] if until else days
        first = str(date.fromisoformat(days[-1]) - timedelta(days=length - 1)) if len(days) else ""
        return self.where((self.days >= first) & (self.days <= (days[-1] if len(days) else "")))
