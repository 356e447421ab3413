"""What Prometheus sees at the service's door: pages of metrics in simulated time, judged as the chart's rules do.

Where a rule asks for a number of predictions in an hour, a drill of little traffic takes as many hours as that many
take.
"""

from typing import NamedTuple

import numpy as np

from ml.delivery.metrics import Counts, counts, of, since
from ml.drill.faults import Alert

MINUTE, HOUR, DAY, WEEK = (np.timedelta64(minutes, "m") for minutes in (1, 60, 1440, 7 * 1440))
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
        self._pages: dict[np.datetime64, Counts] = {}
        self.raised: list[Raised] = []

    def look(self, moment: np.datetime64, page: str) -> None:
        """Take in a page of metrics, later than the last, and raise what was not raised yet."""
        self._pages[moment] = counts(page)
        there = {each.alert for each in self.raised}
        found: dict[Alert, str | None] = {"ContractBroken": self._broken(), "FeatureMissing": self._missing(moment)}
        self.raised += [Raised(alert, moment, says) for alert, says in found.items() if says and alert not in there]

    def _broken(self) -> str | None:
        """Say which fields break the contract, where too many records did since the last page."""
        *_, last = self._pages
        before = self._last(last - MINUTE)
        now = self._between(before, last) if before else self._pages[last]
        broken, scored = _sum(now, "ml_broken_records_total"), predictions(now)
        if not (broken > RECORDS and broken / (broken + scored) > BROKEN):
            return None
        kinds = [(value, told) for told, value in of(now, "ml_contract_breaches_total") if value]
        named = ", ".join(f"{told['field']} {told['kind']}" for _, told in sorted(kinds, key=lambda each: -each[0]))
        return f"{broken / (broken + scored):.0%} of the records are refused: {named}"

    def _missing(self, moment: np.datetime64) -> str | None:
        """Say which features are missing far more often than in the week that ended a day ago, and than a week ago.

        At some hours of every day some may be missing, so nothing is said of a time whose like was not seen.
        """
        begin = self._last(moment - HOUR)
        while begin is not None and predictions(self._between(begin, moment)) <= ENOUGH:
            begin = self._last(begin - MINUTE)
        if begin is None or not {begin - WEEK, moment - WEEK} <= self._pages.keys():
            return None
        week = [at for at in self._pages if DAY <= moment - at <= 8 * DAY]
        usual, then = self._between(week[0], week[-1]), self._between(begin - WEEK, moment - WEEK)
        if predictions(usual) <= ENOUGH:
            return None
        found = {
            name: share - max(_shares(usual).get(name, 0.0), _shares(then).get(name, 0.0))
            for name, share in _shares(self._between(begin, moment)).items()
        }
        rises = sorted((name for name, rise in found.items() if rise > MISSING), key=lambda name: -found[name])
        if not rises:
            return None
        others = f", and {len(rises) - 1} other features" if len(rises) > 1 else ""
        return f"{rises[0]} is missing in {100 * found[rises[0]]:.0f} more of a hundred requests than before{others}"

    def _last(self, moment: np.datetime64) -> np.datetime64 | None:
        """Return when the last page up to a moment was taken; None where there is none."""
        return max((at for at in self._pages if at <= moment), default=None)

    def _between(self, begin: np.datetime64, end: np.datetime64) -> Counts:
        """Return what was counted from one page to another."""
        return since({"": self._pages[end]}, {"": self._pages[begin]})


def predictions(found: Counts) -> float:
    """Return how many records were scored."""
    return _sum(found, "ml_predictions_total")


def _shares(found: Counts) -> dict[str, float]:
    """Return for each feature the share of the records that came without it; nothing where none was scored."""
    scored = predictions(found)
    return {told["feature"]: value / scored for told, value in of(found, "ml_missing_values_total") if scored}


def _sum(found: Counts, name: str) -> float:
    return sum(value for _, value in of(found, name))
