"""What was said and what came of it: scores, days and outcomes of labelled predictions."""

from dataclasses import dataclass, fields
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Observations:
    """Rows of served predictions.

    `scores`, `days` (local, ISO 8601) and `delays` (hours until the outcome) have a value a row; `outcomes` is 0 or 1,
    NaN where there is none to go by.
    """

    scores: NDArray[np.float64]
    outcomes: NDArray[np.float64]
    days: NDArray[np.str_]
    delays: NDArray[np.float64]

    @property
    def matured(self) -> NDArray[np.bool_]:
        """Which rows have an outcome."""
        return np.asarray(~np.isnan(self.outcomes))

    def where(self, rows: NDArray[np.bool_]) -> "Observations":
        """Return the chosen rows."""
        return Observations(*(getattr(self, each.name)[rows] for each in fields(self)))

    def window(self, until: date | None, length: int) -> "Observations":
        """Return the newest `length` days with an outcome, up to `until`."""
        return self._newest(np.unique(self.days[self.matured]), until, length)

    def newest(self, until: date | None, length: int) -> "Observations":
        """Return the newest `length` days of all that was served, up to `until`: inputs are known before outcomes."""
        return self._newest(np.unique(self.days), until, length)

    def _newest(self, days: NDArray[np.str_], until: date | None, length: int) -> "Observations":
        days = days[days <= str(until)] if until else days
        first = str(date.fromisoformat(days[-1]) - timedelta(days=length - 1)) if len(days) else ""
        return self.where((self.days >= first) & (self.days <= (days[-1] if len(days) else "")))


def observations(rows: pd.DataFrame, scores: NDArray[np.float64] | None = None) -> Observations:
    """Return labelled rows as observations, with the scores that were logged or, where some are given, these, [n]."""
    return Observations(
        rows.score.to_numpy(np.float64) if scores is None else scores,
        rows.outcome.to_numpy(np.float64),
        rows.day.to_numpy(str),
        rows.delay_hours.to_numpy(np.float64),
    )
