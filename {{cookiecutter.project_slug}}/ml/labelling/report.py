"""What labelling reports: how many outcomes came, how long they took, and one page that shows it."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.contract.framing import Label
from ml.contract.labels import LATE, OBSERVED, STATUSES
from ml.labelling import plots
from ml.pages import page
from ml.settings import settings

TEMPLATE = Path(__file__).with_name("report.html")
QUANTILES = {"half": 0.5, "nine of ten": 0.9, "99 of 100": 0.99, "all": 1.0}


def over(rows: pd.DataFrame, now: datetime, hours: float) -> pd.Series:
    """Return of which rows the window is over: the others may yet get an outcome, and quick ones already have."""
    return now - rows.time > timedelta(hours=hours)


def summary(rows: pd.DataFrame, now: datetime, rule: Label) -> dict[str, Any]:
    """Return counts by status, coverage and delays in hours, as a whole and by day.

    Coverage is the share of predictions whose outcome came, and delays are theirs; both are of predictions whose window
    is over, else early outcomes would count too much. They are None, and none, where no window is over.
    """
    closed = rows[over(rows, now, rule.attribution_hours)]
    delays = closed.delay_hours.dropna()
    by_day = []
    for day, part in rows.groupby("day"):
        counted = {"day": str(day), "rows": len(part), **_counts(part)}
        by_day.append(counted | {"coverage": _coverage(closed[closed.day == day])})
    return {
        "until": now.isoformat(),
        "attribution_hours": rule.attribution_hours,
        "absent": rule.absent,
        "rows": len(rows),
        "status": _counts(rows),
        "coverage": _coverage(closed),
        "delay_hours": {words: float(np.quantile(delays, share)) for words, share in QUANTILES.items() if len(delays)},
        "days": by_day,
    }


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {status: int((rows.status == status).sum()) for status in STATUSES}


def _coverage(closed: pd.DataFrame) -> float | None:
    return float(closed.status.isin([OBSERVED, LATE]).mean()) if len(closed) else None


def render(found: dict[str, Any], rows: pd.DataFrame) -> str:
    """Return the page of a summary and the rows that it is of."""
    closed = rows[over(rows, datetime.fromisoformat(found["until"]), found["attribution_hours"])]
    delays = closed.delay_hours.dropna().to_numpy()
    return page.render(
        TEMPLATE,
        project=settings().project,
        environment=settings().release.environment,
        found=found,
        meaning=STATUSES,
        days=plots.days(found["days"]),
        delays=plots.delays(delays, found["attribution_hours"]) if len(delays) else "",
    )
