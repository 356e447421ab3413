"""What Prometheus sees at the service's door: pages of metrics in simulated time, judged as the chart's rules do.

Where a rule asks for a number of predictions in an hour, a drill of little traffic takes as many hours as that many
take.
"""

from typing import NamedTuple

import numpy as np

from ml.delivery.metrics import Counts, counts, of, since
from ml.drill.faults import Alert

HOUR, DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")
ENOUGH = 100  # predictions
BROKEN, RECORDS = 0.05, 10  # share and number of records that may break the contract
MISSING = 0.2  # by which the share of requests without a feature may rise above its own week


class Raised(NamedTuple):
    """An alert, since when it is there, and what somebody who looks is told."""

    alert: Alert
    at: np.datetime64
    says: str


class Door:
    """What the service counted up to some moments."""

    def __init__(self) -> None:
        self._pages: list[tuple[np.datetime64, Counts]] = []
        self.raised: list[Raised] = []

    def look(self, moment: np.datetime64, page: str) -> None:
        """Take in a page of metrics, later than the last, and raise what was not raised yet."""
        self._pages.append((moment, counts(page)))
        there = {each.alert for each in self.raised}
        found: dict[Alert, str | None] = {"ContractBroken": self._broken(), "FeatureMissing": self._missing(moment)}
        self.raised += [Raised(alert, moment, says) for alert, says in found.items() if says and alert not in there]

    def _broken(self) -> str | None:
        """Say which fields break the contract, where too many records did since the last page."""
        now = self._between(-2, -1)
        broken, scored = _sum(now, "ml_broken_records_total"), predictions(now)
        if not (broken > RECORDS and broken / (broken + scored) > BROKEN):
            return None
        kinds = [(value, told) for told, value in of(now, "ml_contract_breaches_total") if value]
        named = ", ".join(f"{told['field']} {told['kind']}" for _, told in sorted(kinds, key=lambda each: -each[0]))
        return f"{broken / (broken + scored):.0%} of the records are refused: {named}"

    def _missing(self, moment: np.datetime64) -> str | None:
        """Say which features are missing far more often than in the week that ended a day ago."""
        last = len(self._pages) - 1
        before = [
            at
            for at in range(last)
            if moment - self._pages[at][0] >= HOUR and predictions(self._between(at, last)) > ENOUGH
        ]
        week = [at for at in range(last) if DAY <= moment - self._pages[at][0] <= 8 * DAY]
        if not before or not week:
            return None
        now, usual = self._between(before[-1], last), self._between(week[0], week[-1])
        if predictions(usual) <= ENOUGH:
            return None
        rises = {name: share - _shares(usual).get(name, 0.0) for name, share in _shares(now).items()}
        found = sorted((name for name, rise in rises.items() if rise > MISSING), key=lambda name: -rises[name])
        if not found:
            return None
        return f"{found[0]} is missing in {rises[found[0]]:.0%} more of the requests, and {len(found) - 1} others"

    def _between(self, first: int, last: int) -> Counts:
        """Return what was counted from one page to another; from the beginning where there is no earlier one."""
        before = self._pages[first][1] if -first <= len(self._pages) else Counts()
        return since({"": self._pages[last][1]}, {"": before})


def predictions(found: Counts) -> float:
    """Return how many records were scored."""
    return _sum(found, "ml_predictions_total")


def _shares(found: Counts) -> dict[str, float]:
    """Return for each feature the share of the records that came without it."""
    return {told["feature"]: value / predictions(found) for told, value in of(found, "ml_missing_values_total")}


def _sum(found: Counts, name: str) -> float:
    return sum(value for _, value in of(found, name))
