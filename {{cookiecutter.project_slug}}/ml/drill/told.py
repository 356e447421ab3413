"""What a drill tells of a fault: a row of the table, and a section of the page."""

from typing import NamedTuple

import numpy as np

from ml.drill.door import Raised
from ml.drill.faults import Fault
from ml.monitoring.policy import Decision

HEAD = ("fault", "alert", "after", "retraining", "what a person sees")


class Told(NamedTuple):
    """A fault, the alerts in the order in which they came, the policy's decision, and where there is more to see."""

    name: str
    fault: Fault
    began: np.datetime64
    raised: list[Raised]
    decision: Decision
    page: str

    @property
    def first(self) -> Raised | None:
        """The alert that the fault should raise; None where it did not."""
        return next((each for each in self.raised if each.alert == self.fault.alert), None)

    @property
    def row(self) -> tuple[str, ...]:
        """The fault as a row of the table."""
        decided = self.decision.decision
        if self.first is None:
            return self.name, f"no {self.fault.alert}", "", decided, ""
        return self.name, self.first.alert, lasted(self.first.at - self.began), decided, self.first.says


def lasted(span: np.timedelta64) -> str:
    """Return a span of simulated time in words, as 2 days 3 hours."""
    minutes = int(span / np.timedelta64(1, "m"))
    parts = {"day": minutes // 1440, "hour": minutes // 60 % 24, "minute": minutes % 60}
    return " ".join(f"{count} {unit}{'s' * (count != 1)}" for unit, count in parts.items() if count) or "0 minutes"


def markdown(told: list[Told], words: str) -> str:
    """Return the page: a table of all faults, and a section for each; `words` say what was drilled."""
    lines = ["# Drill", "", words, "", _line(HEAD), _line(["---"] * len(HEAD)), *(_line(each.row) for each in told)]
    for each in told:
        came = [f"- {one.alert} after {lasted(one.at - each.began)}: {one.says}." for one in each.raised]
        lines += ["", f"## {each.name}", "", f"Injected: {each.fault.says}.", ""]
        lines += came or [f"- No alert came; {each.fault.alert} should have."]
        lines += [f"- Retraining: {each.decision.decision}, because {'; '.join(each.decision.reasons)}."]
        lines += [f"- To look at: {each.page}"]
    return "\n".join([*lines, ""])


def _line(cells: "list[str] | tuple[str, ...]") -> str:
    return f"| {' | '.join(cells)} |"
