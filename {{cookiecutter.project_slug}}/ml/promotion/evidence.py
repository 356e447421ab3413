"""What a verdict is worth to who wants to move: nothing where it is of something else, too old, or no pass.

All of it is pure: verdicts, the release and the time are given.
"""

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from ml.contract.release import CHAMPION, Release
from ml.contract.verdict import EXIT, Verdict, overall
from ml.experiment.verdict import Verdict as Analysis

Kind = Literal["nothing", "busy", "unjudged", "undecided", "early", "rejected", "foreign", "stale"]
AGAINST = ("rejected", "foreign", "stale")  # of the others more may come by itself


class Refusal(NamedTuple):
    """Why nothing moves: the kind of reason, the reason in words, and what to do."""

    kind: Kind
    said: str
    mend: str

    @property
    def code(self) -> int:
        """The exit code: that of fail where the evidence speaks against it, else that of inconclusive."""
        return EXIT["fail" if self.kind in AGAINST else "inconclusive"]


def of_gate(
    judged: Verdict | None, challenger: str, champion: str | None, framing: str, now: datetime
) -> Refusal | None:
    """Return why the gate's verdict does not let a bundle answer anybody; None where it does.

    Without a `champion` nothing is released, and any pass will do: the gate itself takes the baseline then.
    """
    new, again = challenger[:12], f"Run `ml gate --challenger {challenger[:12]}`"
    if judged is None:
        old = champion[:12] if champion else "its baseline"
        return Refusal("unjudged", f"{new} was never judged against {old}", again)
    old = judged.champion.bundle
    if judged.challenger.bundle != challenger or champion not in (None, old):
        said = f"the verdict is on {judged.challenger.bundle[:12]} against {old[:12]}, and no other"
        return Refusal("foreign", said, again)
    if judged.framing != framing:
        return Refusal("foreign", f"{new} was judged by another framing than today's", again)
    if expired := [each.name for each in judged.checks if each.waiver and each.waiver.expires < now.date()]:
        return Refusal("stale", f"the waiver for {expired[0]} has expired", again)
    answer = overall(each.counts for each in judged.checks)
    if answer == "pass":
        return None
    kept = ", ".join(f"{each.name} ({each.counts})" for each in judged.checks if each.counts != "pass")
    said = f"the verdict on {new} against {old[:12]} is {answer}: {kept}"
    return Refusal("rejected" if answer == "fail" else "undecided", said, "See the gate's page")


def of_analysis(found: Analysis | None, told: Release, since: datetime | None, framing: str) -> Refusal | None:
    """Return why the verdict on the experiment of a release decides nothing; None where it is a pass or a fail.

    `since` is when this release was first deployed, None where nobody has written that down.
    """
    experiment, again = told.experiment, "Run `ml experiment` in that environment"
    if experiment is None:
        return Refusal("nothing", "no experiment runs", "Try a bundle out first")
    if found is None:
        return Refusal("undecided", f"{experiment.name} has not been judged yet", again)
    if (found.name, found.mode) != (experiment.name, experiment.mode):
        said = f"the verdict is on the {found.mode} {found.name}, what runs is the {experiment.mode} {experiment.name}"
        return Refusal("foreign", said, again)
    if found.plan != told.plan:
        said = f"{found.name} was judged under the plan {found.plan or 'of nobody'}, the release is plan {told.plan}"
        return Refusal("foreign", said, again)
    if found.framing != framing:
        return Refusal("foreign", f"{found.name} was judged by another framing than today's", again)
    if strange := _strangers(found, told):
        said = f"{found.name} was judged on {', '.join(each[:12] for each in strange)}, which the release does not name"
        return Refusal("foreign", said, "End the experiment, and begin it under another name")
    if since and found.judged_at < since:
        said = f"{found.name} was judged {_when(found.judged_at)}, before this was deployed {_when(since)}"
        return Refusal("early", said, again)
    if found.verdict == "inconclusive":
        said = f"{found.name} is inconclusive: {reasons(found)}"
        return Refusal("undecided", said, "Wait, and judge again")
    return None


def of_age(what: str, judged_at: datetime, now: datetime, days: float) -> Refusal | None:
    """Return why a verdict is too old; None where it is not."""
    if now - judged_at <= timedelta(days=days):
        return None
    said = f"{what} was judged {_when(judged_at)}, promotion.evidence_days are {days:g}"
    return Refusal("stale", said, "Judge it again")


def reasons(found: Analysis) -> str:
    """Return the first reason of a verdict, and how many more it has."""
    more = len(found.reasons) - 1
    return "".join(found.reasons[:1]) + (f" (and {more} more)" if more > 0 else "")


def _strangers(found: Analysis, told: Release) -> list[str]:
    """Return the bundles that answered in an arm and are not its own; the champion's may, where a challenger failed."""
    arms = told.experiment.arms if told.experiment else {}
    own = {name: {arm.bundle, told.champion} for name, arm in arms.items()} | {CHAMPION: {told.champion}}
    return [digest for side in found.arms for digest in side.bundles if digest not in own.get(side.arm, set())]


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
