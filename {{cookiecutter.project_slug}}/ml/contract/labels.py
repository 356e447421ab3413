"""The labelled table: every prediction with what came of it. Labelling writes it, and who judges outcomes reads it.

One Parquet partition a local day of prediction lies below `settings().labels_url`. Beside COLUMNS a row has what the
prediction was logged with, in columns whose names begin as in the log.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta

import pandas as pd

from ml.contract.events import FEATURES
from ml.errors import ContractError
from ml.store import partitions

OBSERVED, LATE, ASSUMED, PENDING, ABSENT = "observed", "late", "assumed", "pending", "absent"
CONTRADICTED = "contradicted"
STATUSES = {
    OBSERVED: "the outcome came within the window",
    LATE: "the outcome came after the window, and corrects what was said before",
    ASSUMED: "no outcome came within the window: taken for negative",
    PENDING: "the window is open: used by nothing yet",
    ABSENT: "no outcome came within the window: used by nothing",
    CONTRADICTED: "senders disagree on the outcome: used by nothing until they agree",
}

PREDICTED = ("request_id", "time", "bundle", "score", "decision", "seconds", "fallback", "stored")  # as it was logged
EXPOSED = ("experiment", "arm", "entity")
# day: local, ISO 8601; outcome: 0 or 1, or NaN; status: see STATUSES; delay_hours: until the outcome, or NaN
LABELLED = ("day", "outcome", "status", "delay_hours")
COLUMNS = (*PREDICTED, *EXPOSED, *LABELLED)


def newest(url: str) -> date:
    """Return the newest day that has labelled rows; raises ContractError where there is none."""
    if not (days := partitions.days(url)):
        raise _none(url)
    return days[-1]


def by_day(
    url: str, since: date = date.min, until: date = date.max, columns: Sequence[str] = ()
) -> Iterator[tuple[date, pd.DataFrame]]:
    """Yield each day that has labelled rows, in order, and these, or some of their columns."""
    for day in partitions.days(url):
        if since <= day <= until:
            yield day, partitions.read(url, day, columns)


def read(
    url: str,
    since: date = date.min,
    until: date = date.max,
    columns: Sequence[str] = (),
    where: Callable[[pd.DataFrame], "pd.Series[bool]"] | None = None,
) -> pd.DataFrame:
    """Return the labelled rows of some days in order, or these of their columns, or those that are asked for.

    Raises ContractError where there are no labels, or labels of another form.
    """
    parts = [rows[where(rows)] if where else rows for _, rows in by_day(url, since, until, columns)]
    if not parts:
        raise _none(url)
    rows = pd.concat(parts, ignore_index=True)
    if unknown := set(columns or COLUMNS) - set(rows):
        raise ContractError("labels", f"{url} has no column {min(unknown)}", "Remove it, then run `ml label`")
    return rows


def known(url: str, after: date, until: date) -> int:
    """Return how many rows of the days after one, up to another, have an outcome that counts."""
    return sum(int(rows.outcome.notna().sum()) for _, rows in by_day(url, after + timedelta(1), until, ["outcome"]))


def features(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what the model was given, a column a feature."""
    named = {name: name.removeprefix(FEATURES) for name in rows.columns if name.startswith(FEATURES)}
    return rows[list(named)].rename(columns=named)


def _none(url: str) -> ContractError:
    return ContractError("labels", f"{url} holds no labels", "Run `ml label` first")
