"""The verdict on an experiment: one answer with its reasons, and every number that decided, arm by arm."""

from datetime import datetime
from typing import Literal

from pydantic import JsonValue

from ml.contract.verdict import Check, Record, overall
from ml.statistics.inference import Answer

CLAIMS = {
    "shadow": "decides alike, costs no more and seldom fails",
    "canary": "costs no more than the margin",
    "ab": "costs less",
    "holdout": "the champion costs less than it",
}


class Point(Record):
    """The deciding estimate as it was at the end of a day, with its bounds."""

    day: str
    value: float
    low: float
    high: float


class Side(Record):
    """One arm: who was in it, and how it did; None where it is not known yet."""

    arm: str
    bundles: list[str]
    entities: int
    requests: int
    labelled: int
    cost: float | None
    loss: float | None
    p50_ms: float | None
    p99_ms: float | None
    fallbacks: float | None


class Comparison(Record):
    """One challenger against the champion."""

    arm: str
    answer: Answer
    checks: list[Check]
    sequence: list[Point]
    facts: dict[str, JsonValue]


class Verdict(Record):
    """The whole verdict; `verdict` and `reasons` are what a rollout reads."""

    version: Literal[1] = 1
    verdict: Answer
    reasons: list[str]
    name: str
    mode: str
    plan: str | None = None  # of the release when it was judged, where that names the experiment
    claim: str
    judged_at: datetime
    since: str
    until: str
    days: int
    alpha: float
    framing: str
    arms: list[Side]
    split: list[Check]
    comparisons: list[Comparison]
    notes: list[str]


def distrusted(check: Check) -> Check:
    """Return a check that fails because the split is broken, whatever was measured."""
    said = f"the split is broken; measured, and not to be trusted: {check.said}"
    intervals = [each.model_copy(update={"answer": "fail"}) for each in check.intervals]
    return check.model_copy(update={"answer": "fail", "said": said, "intervals": intervals})


def compared(arm: str, checks: list[Check], sequence: list[Point], facts: dict[str, JsonValue]) -> Comparison:
    """Return the comparison whose answer follows from its checks."""
    answer = overall(check.answer for check in checks)
    return Comparison(arm=arm, answer=answer, checks=checks, sequence=sequence, facts=facts)


def reasons(answer: Answer, split: list[Check], comparisons: list[Comparison]) -> list[str]:
    """Return why the answer is what it is: the checks that gave it, the split's alone where it is broken."""
    if broken := [f"{check.name}: {check.said}" for check in split if check.answer == "fail"]:
        return broken
    found = [f"{check.name}: {check.said}" for check in split if check.answer == answer != "pass"]
    for each in comparisons:
        deciding = [check for check in each.checks if check.answer == answer]
        shown = deciding[:1] if answer == "pass" else deciding
        found += [f"{each.arm}, {check.name}: {check.said}" for check in shown]
    return found
