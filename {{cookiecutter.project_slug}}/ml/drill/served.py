"""Real records as a service would have served them, and which of their outcomes are known at the end of a day."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from math import ceil

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.contract.framing import framing
from ml.features.rows import Rows
from ml.monitoring.observations import Observations


@dataclass(frozen=True)
class Served:
    """Features as the model was given them, a column each, and what was said and came of it; a row a record."""

    features: pd.DataFrame
    said: Observations


def stretches(days: Sequence[date], since: date, length: int) -> Iterator[tuple[date, date]]:
    """Yield first and last day of each whole stretch of `length` days from a day on, as long as `days` reach."""
    reach = max(days, default=date.min)
    while (until := since + timedelta(days=length - 1)) <= reach:
        yield since, until
        since = until + timedelta(days=1)


def served(rows: Rows, scores: NDArray[np.float64]) -> Served:
    """Return rows with their scores, [n], and with every outcome; nobody knows here how long each one took."""
    outcomes, delays = rows.outcomes.astype(np.float64), np.full(len(scores), np.nan)
    return Served(rows.frame, Observations(scores, outcomes, rows.days.astype(str), delays))


def as_known(parts: Sequence[Served], at_end_of: date) -> Served:
    """Return some stretches as one, without the outcomes that are not all known yet when a day ends."""
    features = pd.concat([part.features for part in parts], ignore_index=True)
    joined = Observations.together([part.said for part in parts])
    outcomes = np.where(joined.days <= str(matured(at_end_of)), joined.outcomes, np.nan)
    return Served(features, replace(joined, outcomes=outcomes))


def matured(at_end_of: date) -> date:
    """Return the newest day of which every outcome is known when a day ends."""
    return at_end_of - timedelta(days=ceil(framing().time.label_delay_hours / 24))
