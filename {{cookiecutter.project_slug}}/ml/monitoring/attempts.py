"""What retraining remembers of each environment: every decision that acted, in order, and what came of it."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from ml.contract import ledger, trained
from ml.contract.verdict import Record
from ml.monitoring.policy import Act, Came
from ml.settings import settings

Place = Literal["here", "kubeflow", "github"]
PATIENCE = timedelta(days=1)  # wall time within which a run may still come to a verdict


class Acted(Record):
    """A decision that acted: when, on what verdict, about whom, why, where; and what is trained on, if anything is."""

    decision: Literal["train", "stop"]
    reasons: list[str]
    forced: bool
    champion: str
    day: date
    since: date | None = None
    until: date | None = None
    at: datetime
    on: Place


@dataclass(frozen=True)
class Past:
    """The acts of an environment, the oldest first, as they were read at one moment."""

    acts: list[Act]

    def add(self, acted: Acted) -> bool:
        """Remember what follows; False where another has acted since this past was read: then nothing may be begun."""
        return ledger.once(settings().store_url, book(), f"{len(self.acts):06d}", acted.model_dump(mode="json"))


def past(now: datetime) -> Past:
    """Read what was done before, and what the gate has said of it by now."""
    store, own = settings().store_url, book()
    told = [Acted.model_validate(ledger.read(store, own, name)) for name in ledger.names(store, own)]
    return Past([Act(each.decision, each.day, _came(each, now), each.forced) for each in told])


def _came(acted: Acted, now: datetime) -> Came:
    if acted.since is None or acted.until is None:
        return "nothing"
    unsaid: Came = "running" if now - acted.at < PATIENCE else "nothing"
    return trained.answer(settings().store_url, acted.since, acted.until) or unsaid


def book() -> str:
    """Return the ledger's book of this environment."""
    return f"retraining/{settings().release.environment}"
