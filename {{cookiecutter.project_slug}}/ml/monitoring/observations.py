"""What was said and what came of it: scores, days and outcomes of labelled predictions."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

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

    @classmethod
    def none(cls) -> "Observations":
        """Return no rows."""
        return cls(np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.str_), np.zeros(0))

    @classmethod
    def together(cls, parts: Sequence["Observations"]) -> "Observations":
        """Return the rows of several as one."""
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))


def observations(rows: pd.DataFrame, scores: NDArray[np.float64] | None = None) -> Observations:
    """Return labelled rows as observations, with the scores that were logged or, where some are given, these, [n]."""
    return Observations(
        rows.score.to_numpy(np.float64) if scores is None else scores,
        rows.outcome.to_numpy(np.float64),
        rows.day.to_numpy(str),
        rows.delay_hours.to_numpy(np.float64),
    )
