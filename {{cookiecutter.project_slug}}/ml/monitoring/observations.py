"""What was served and what came of it: predictions of one bundle joined with the outcomes that have arrived."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from ml.contract import events
from ml.contract.framing import framing
from ml.features import calendar
from ml.features.table import NUMBERS


@dataclass(frozen=True)
class Observations:
    """Rows of served predictions.

    `features` has a column a feature; `scores` and `days` (local, ISO 8601) a value a row; `outcomes` is 0 or 1,
    NaN where none has arrived.
    """

    features: pd.DataFrame
    scores: np.ndarray
    outcomes: np.ndarray
    days: np.ndarray

    @property
    def matured(self) -> np.ndarray:
        """Which rows have an outcome."""
        return np.asarray(~np.isnan(self.outcomes))

    def where(self, rows: np.ndarray) -> "Observations":
        """Return the chosen rows."""
        return Observations(self.features[rows], self.scores[rows], self.outcomes[rows], self.days[rows])

    def window(self, until: date | None, length: int) -> "Observations":
        """Return the newest `length` days with an outcome, up to `until`."""
        days = np.unique(self.days[self.matured])
        days = days[days <= str(until)] if until else days
        first = str(date.fromisoformat(days[-1]) - timedelta(days=length - 1)) if len(days) else ""
        return self.where((self.days >= first) & (self.days <= (days[-1] if len(days) else "")))


def observe(folder: Path, bundle: str) -> Observations:
    """Read the event log; of several outcomes for one request the last counts."""
    predictions, observed = [], []
    for event in events.read(folder):
        if event["kind"] == "outcome":
            observed.append(event)
        elif event["bundle"] == bundle:
            predictions.append(event)
    observed.sort(key=lambda event: event["time"])
    outcomes = {event["request_id"]: float(event["outcome"]) for event in observed}
    times = np.array([event["time"].replace(tzinfo=None) for event in predictions], dtype="datetime64[s]")
    features = pd.DataFrame([event["features"] for event in predictions])
    for feature in NUMBERS:
        if feature.name in features:
            features[feature.name] = features[feature.name].astype(np.float32)
    return Observations(
        features,
        np.array([event["score"] for event in predictions], dtype=np.float64),
        np.array([outcomes.get(event["request_id"], np.nan) for event in predictions], dtype=np.float64),
        calendar.local(times, framing().time.timezone).astype("datetime64[D]").astype(str),
    )
