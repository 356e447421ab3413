"""What labelling reports: how many outcomes came, how long they took, and one page that shows it."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.contract.framing import Label
from ml.contract.labels import LATE, OBSERVED, STATUSES
from ml.labelling import plots
from ml.pages import page
from ml.settings import settings

TEMPLATE = Path(__file__).with_name("report.html")
QUANTILES = {"half": 0.5, "nine of ten": 0.9, "99 of 100": 0.99, "all": 1.0}


class Day(NamedTuple):
    """What became of the predictions of a day: counts by status, of all and of those whose window is over.

    `delays` are the hours until the outcomes of the latter came.
    """

    day: date
    counts: dict[str, int]
    closed: dict[str, int]
    delays: NDArray[np.float32]

    @classmethod
    def of(cls, day: date, rows: pd.DataFrame, now: datetime, rule: Label) -> "Day":
        """Count the labelled rows of a day."""
        closed = rows[now - rows.time > timedelta(hours=rule.attribution_hours)]
        return cls(day, _counts(rows), _counts(closed), closed.delay_hours.dropna().to_numpy(np.float32))


def summary(days: Sequence[Day], now: datetime, rule: Label) -> dict[str, Any]:
    """Return counts by status, coverage and delays in hours, as a whole and by day.

    Coverage is the share of predictions whose outcome came, and delays are theirs; both are of predictions whose window
    is over: others may yet get an outcome, and quick ones already have, so that early outcomes would count too much.
    They are None, and none, where no window is over.
    """
    counts, delays = _together([each.counts for each in days]), _delays(days)
    return {
        "until": now.isoformat(),
        "attribution_hours": rule.attribution_hours,
        "absent": rule.absent,
        "rows": sum(counts.values()),
        "status": counts,
        "coverage": _coverage(_together([each.closed for each in days])),
        "delay_hours": {words: float(np.quantile(delays, share)) for words, share in QUANTILES.items() if len(delays)},
        "days": [
            {"day": str(each.day), "rows": sum(each.counts.values()), **each.counts, "coverage": _coverage(each.closed)}
            for each in days
        ],
    }


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {status: int((rows.status == status).sum()) for status in STATUSES}


def _together(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    return {status: sum(each[status] for each in counts) for status in STATUSES}


def _coverage(closed: dict[str, int]) -> float | None:
    rows = sum(closed.values())
    return (closed[OBSERVED] + closed[LATE]) / rows if rows else None


def _delays(days: Sequence[Day]) -> NDArray[np.float32]:
    return np.concatenate([each.delays for each in days])


def render(found: dict[str, Any], days: Sequence[Day]) -> str:
    """Return the page of a summary and the days that it is of."""
    delays = _delays(days)
    return page.render(
        TEMPLATE,
        project=settings().project,
        environment=settings().release.environment,
        found=found,
        meaning=STATUSES,
        days=plots.days(found["days"]),
        delays=plots.delays(delays, found["attribution_hours"]) if len(delays) else "",
    )
