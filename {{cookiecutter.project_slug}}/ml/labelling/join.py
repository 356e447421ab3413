"""The join of predictions and outcomes, by request; pure: the same events give the same labels."""

from collections.abc import Iterator
from datetime import date, datetime

import numpy as np
import pandas as pd

from ml.contract.events import FEATURES, KEY
from ml.contract.framing import Label, framing
from ml.contract.labels import ABSENT, ASSUMED, COLUMNS, CONTRADICTED, LATE, OBSERVED, PENDING
from ml.features import calendar


def join(
    predictions: pd.DataFrame, outcomes: pd.DataFrame, now: datetime, rule: Label
) -> Iterator[tuple[date, pd.DataFrame]]:
    """Yield each local day of prediction, in order, and its labelled rows, by time: COLUMNS, and what was logged.

    Both are tables of the event log. Of a sender's outcomes for one request the last in time counts, and where senders
    disagree none does; an outcome without a prediction labels nothing.
    """
    rows = predictions.sort_values(["time", "request_id"], ignore_index=True)
    del predictions  # a day of a million is half a gigabyte, and the caller need not keep it
    times = rows.time.dt.tz_localize(None).to_numpy("datetime64[s]")
    rows["day"] = calendar.local(times, framing().time.timezone).astype("datetime64[D]").astype(str)
    labels = _labels(rows.time, _told(outcomes).reindex(rows.request_id), now, rule)
    rows = pd.concat([rows, labels], axis=1)
    logged = [str(name) for name in rows if str(name).startswith((KEY, FEATURES))]
    rows = rows[[*COLUMNS, *logged]]
    for day in sorted(days := set(rows.day)):
        yield date.fromisoformat(day), rows if len(days) == 1 else rows[rows.day == day].reset_index(drop=True)


def _told(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return what was told of each request, by its id: the last outcome, its time, and whether senders disagree."""
    last = outcomes.sort_values("time", kind="stable").drop_duplicates(["request_id", "sender"], keep="last")
    by_request = last.groupby("request_id")
    told = by_request.last()
    return told.assign(disagree=by_request.outcome.nunique() > 1)[["outcome", "time", "disagree"]]


def _labels(made: pd.Series, told: pd.DataFrame, now: datetime, rule: Label) -> pd.DataFrame:
    """Return outcome, status and delay in hours of predictions made at some times, and what was told of each."""
    window = pd.Timedelta(hours=rule.attribution_hours)
    came = told.time.notna().to_numpy()
    delay = (told.time.reset_index(drop=True) - made).dt.total_seconds() / 3600
    # where no outcome means a negative, those that come early are all positives: they wait for the others
    pending = (now - made <= window).to_numpy() & (~came | (rule.absent == "negative"))
    disagree = told.disagree.eq(True).to_numpy()
    absent = ABSENT if rule.absent == "drop" else ASSUMED
    late = np.where(delay > rule.attribution_hours, LATE, OBSERVED)
    status = np.select([pending, disagree, ~came], [PENDING, CONTRADICTED, absent], late)
    counts = np.isin(status, (LATE, OBSERVED))
    outcome = np.where(counts, told.outcome.astype(float).to_numpy(), np.where(status == ASSUMED, 0.0, np.nan))
    return pd.DataFrame({"outcome": outcome, "status": status, "delay_hours": delay.where(counts)})
