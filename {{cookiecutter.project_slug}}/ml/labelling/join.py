"""The join of predictions and outcomes, by request; pure: the same events give the same labels."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_object_dtype

from ml.contract.framing import Label, framing
from ml.contract.labels import ABSENT, ASSUMED, COLUMNS, FEATURES, KEY, LATE, OBSERVED, PENDING
from ml.features import calendar

Event = Mapping[str, Any]  # as ml.contract.events.read yields it
HOUR = timedelta(hours=1)


def join(
    predictions: Sequence[Event], outcomes: Iterable[Event], now: datetime, rule: Label
) -> Iterator[tuple[date, pd.DataFrame]]:
    """Yield each local day of prediction, in order, and its labelled rows, by time: COLUMNS, KEY and FEATURES.

    Of several outcomes for one request the last in time counts; one without a prediction labels nothing.
    """
    last = {event["request_id"]: event for event in sorted(outcomes, key=lambda event: event["time"])}
    times = np.array([event["time"].replace(tzinfo=None) for event in predictions], dtype="datetime64[s]")
    days = calendar.local(times, framing().time.timezone).astype("datetime64[D]").astype(str)
    by_day: dict[str, list[Event]] = {}
    for event, day in zip(predictions, days.tolist(), strict=True):
        by_day.setdefault(day, []).append(event)
    for day in sorted(by_day):
        made = sorted(by_day[day], key=lambda event: (event["time"], event["request_id"]))
        labels = [_label(event["time"], last.get(event["request_id"]), now, rule) for event in made]
        ours = [
            (event["request_id"], event["time"], day, event["bundle"], event["score"], event["decision"])
            for event in made
        ]
        rows = pd.DataFrame([one + label for one, label in zip(ours, labels, strict=True)], columns=list(COLUMNS))
        logged = [
            _logged([event.get(name, {}) for event in made], prefix)
            for name, prefix in (("key", KEY), ("features", FEATURES))
        ]
        yield date.fromisoformat(day), pd.concat([rows, *logged], axis=1)


def _label(made: datetime, found: Event | None, now: datetime, rule: Label) -> tuple[float, str, float]:
    """Return outcome, status and delay in hours of one prediction."""
    window = timedelta(hours=rule.attribution_hours)
    still_open = now - made <= window
    # where no outcome means a negative, those that come early are all positives: they wait for the others
    if still_open and (found is None or rule.absent == "negative"):
        return np.nan, PENDING, np.nan
    if found is None:
        return (np.nan, ABSENT, np.nan) if rule.absent == "drop" else (0.0, ASSUMED, np.nan)
    delay = found["time"] - made
    return float(found["outcome"]), LATE if delay > window else OBSERVED, delay / HOUR


def _logged(values: Sequence[Mapping[str, Any]], prefix: str) -> pd.DataFrame:
    """Return what was logged, a column a name; a column has one type, also where two bundles disagreed on it."""
    frame = pd.DataFrame(values, index=range(len(values)))
    for name, column in frame.items():
        if not is_object_dtype(column):
            continue
        texts = column.map(lambda value: isinstance(value, str)).any()
        frame[name] = column.astype(str).where(column.notna(), None) if texts else column.astype(np.float64)
    return frame.add_prefix(prefix)
