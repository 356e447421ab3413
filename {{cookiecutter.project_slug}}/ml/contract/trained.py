"""What trainings of a window came to: the pipeline remembers it, wherever it ran, and who asked for one reads it."""

from datetime import date
from typing import NamedTuple

from ml.contract import ledger, verdict
from ml.statistics.inference import Answer

BOOK = "trained"


class Trained(NamedTuple):
    """A bundle that a run has made, and the champion against which the gate of an environment has judged it."""

    bundle: str
    champion: str
    environment: str


def remember(store: str, since: str, until: str, run: str, made: Trained) -> None:
    """Remember what a run made of a window; days are ISO 8601."""
    ledger.once(store, BOOK, f"{since}_{until}_{run}", made._asdict())


def answer(store: str, since: date, until: date) -> Answer | None:
    """Return the newest verdict on what any run has made of a window; None where no run has come to one.

    A verdict that is given anew, as on later days, takes the place of the one before.
    """
    runs = [name for name in ledger.names(store, BOOK) if name.startswith(f"{since}_{until}_")]
    made = {Trained(**record) for name in runs if (record := ledger.read(store, BOOK, name))}
    given = [judged for each in made if (judged := verdict.load(store, *each))]
    return max(given, key=lambda judged: judged.judged_at).answer if given else None
