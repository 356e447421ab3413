"""What is known of an environment when its next step is asked for, and what a step is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from ml.contract.release import Release, Role
from ml.contract.verdict import Verdict
from ml.delivery.deployments import Deployment
from ml.experiment.verdict import Verdict as Analysis


@dataclass(frozen=True)
class Case:
    """What an environment runs, what could come in, and the evidence on both."""

    environment: str
    at: datetime
    framing: str
    now: Release | None = None  # what its release file says
    asked: str | None = None  # a bundle that was named
    newest: str | None = None  # the one that was registered last, for the first stage
    images: Mapping[Role, str] = field(default_factory=dict)  # that were named
    stage_before: str | None = None  # None for the first
    before: Release | None = None  # what runs there
    gate: Verdict | None = None  # on the candidate, against who answers now
    analysis: Analysis | None = None  # of the experiment that runs
    failed: Analysis | None = None  # of an earlier try of the candidate against the same champion
    recorded: bool = False  # whether anybody writes down what is deployed here
    since: datetime | None = None  # when `now` was first deployed, if it is what was deployed last
    breaches: tuple[Deployment, ...] = ()  # what did harm here


class Step(NamedTuple):
    """What changes: a word or two, the bundle or the images that it is about, the release to be, and by what right."""

    name: str
    what: str
    to: Release
    because: str

    @property
    def relies_on_gate(self) -> bool:
        """Whether a bundle comes in or goes on by it, for which the gate has to have let it pass."""
        return self.name not in ("images", "withdrawal")


def candidate(case: Case) -> str | None:
    """Return the bundle that is on its way to champion, or could be; None where there is none."""
    if case.now and case.now.experiment:
        return next(iter(case.now.experiment.arms.values())).bundle
    if case.stage_before:
        return case.before.champion if case.before else None
    return case.asked or case.newest


def name_of(mode: str, challenger: str, champion: str, percent: float | None = None) -> str:
    """Return the name of a step's experiment; each has its own, for an analysis wants every entity in one arm."""
    return f"{mode}-{challenger[:8]}-{champion[:8]}" + (f"-{percent:g}" if percent else "")
