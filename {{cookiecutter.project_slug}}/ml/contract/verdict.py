"""The verdict on a bundle: what was asked, what the answer is, every number that decided; docs have its JSON schema."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from ml.errors import ContractError
from ml.settings import settings
from ml.statistics.inference import Answer
from ml.store import files

FILE, PAGE = "verdict.json", "gate.html"
EXIT: dict[Answer, int] = {"pass": 0, "fail": 10, "inconclusive": 11}  # every other code is an error and no verdict


class Record(BaseModel):
    """A part of the verdict; nothing undeclared is in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Waiver(Record):
    """Somebody's word that a check need not pass for a while."""

    check: str
    owner: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    expires: date = Field(description="the last day on which it holds")


class Interval(Record):
    """What was measured, with bounds that leave half of alpha on each side, and the limit that it was held against."""

    of: str
    value: float
    low: float
    high: float
    limit: float
    answer: Answer


class Check(Record):
    """One question and its answer."""

    name: str
    question: str
    answer: Answer
    said: str = Field(description="the answer in words, with its numbers")
    intervals: list[Interval] = []
    evidence: dict[str, JsonValue] = {}
    days_needed: int | None = Field(default=None, description="labelled days that would decide, where it is known")
    waiver: Waiver | None = None

    @property
    def counts(self) -> Answer:
        """Its answer for the verdict: a waived check passes."""
        return "pass" if self.waiver else self.answer


class Window(Record):
    """The rows that both models were judged on."""

    since: date
    until: date
    days: int
    rows: int
    positives: int


class Estimated(Record):
    """A metric with its 95 % interval over resampled days; null where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


class Side(Record):
    """One of the two bundles, and how it did on both windows, by metric."""

    bundle: str
    rung: str
    recent: dict[str, Estimated]
    frozen: dict[str, Estimated]


class Verdict(Record):
    """The whole verdict."""

    version: Literal[1] = 1
    answer: Answer
    claim: Literal["better", "not worse"]
    metric: str
    alpha: float
    power: float
    judged_at: datetime
    champion: Side
    challenger: Side
    recent: Window
    frozen: Window
    framing: str = Field(description="SHA-256 of the framing that it was judged by")
    attempts: int = Field(description="how often the challenger has been judged against this champion, this included")
    frozen_uses: int = Field(description="models that have been shown the frozen test set, this one included")
    days_needed: int | None = Field(default=None, description="labelled days that would settle what is open")
    checks: list[Check]


def overall(answers: Iterable[Answer]) -> Answer:
    """Return fail if any check fails, else inconclusive if any is, else pass.

    A model that is only just bad enough in one respect passes at most as often as that one check errs: the whole
    is an intersection-union test (Berger 1982), and needs no correction for many checks.
    """
    found = set(answers)
    return "fail" if "fail" in found else "inconclusive" if "inconclusive" in found else "pass"


def folder(store: str, challenger: str, champion: str, environment: str | None = None) -> str:
    """Return where an environment's verdict on a challenger against a champion lies, by default this one's."""
    return files.join(store, "verdicts", environment or settings().release.environment, challenger, champion)


def load(store: str, challenger: str, champion: str, environment: str | None = None) -> Verdict | None:
    """Return the last verdict on a challenger against a champion; None where it was never judged."""
    try:
        content = files.read(files.join(folder(store, challenger, champion, environment), FILE))
    except FileNotFoundError:
        return None
    try:
        return Verdict.model_validate_json(content)
    except ValidationError as error:
        broken = f"the verdict on {challenger[:12]} cannot be read"
        raise ContractError("gate", broken, f"Run `ml gate --challenger {challenger[:12]}`") from error
