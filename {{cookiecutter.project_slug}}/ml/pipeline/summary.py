"""What a run ends with: the table of all rungs, and the verdict on the one that was chosen."""

from ml.contract import bundle, release, verdict
from ml.contract.framing import framing
from ml.contract.verdict import Verdict
from ml.pipeline.run import Run
from ml.progress import say, table
from ml.settings import settings
from ml.statistics.metrics import Estimate
from ml.store import files

SHOWN = {"log_loss": "log loss", "roc_auc": "ROC-AUC", "cost": "cost per thousand"}


def show(ran: Run) -> None:
    """Print the ladder and the verdict of a run."""
    store = settings().store_url
    found = bundle.load(store, ran.bundle)
    made = found.manifest
    rows = [
        [
            f"{rung} (chosen)" if rung == made["rung"] else rung,
            f"{made['ladder'][rung]['loss']:.4f}",
            *(str(Estimate(**made["ladder"][rung]["test"][name])) for name in SHOWN),
        ]
        for rung in made["rungs"]
    ]
    days = made["test"]["days"]
    title = (
        f"The ladder: {framing().task.metric} on later days of training, by which it is chosen, "
        f"and on {days[0]} to {days[-1]}, with 95 % over days"
    )
    table(title, ["rung", "later days", *SHOWN.values()], rows)
    against = release.judged_against(found)
    judged = verdict.load(store, ran.bundle, against)
    if judged is not None:
        show_verdict(judged, every=False)
        say("verdict", f"{judged.answer}: {next_step(judged)}")
        say("page", files.join(verdict.folder(store, ran.bundle, against), verdict.PAGE))
    say("data docs", str(ran.data_docs))


def show_verdict(judged: Verdict, every: bool) -> None:
    """Print the checks, all of them or those that did not pass."""
    rows = [
        [each.name, f"waived by {each.waiver.owner}" if each.waiver else each.answer, each.said]
        for each in judged.checks
        if every or each.answer != "pass"
    ]
    if rows:
        table("The gate's checks" if every else "Checks that did not pass", ["check", "answer", "said"], rows)


def next_step(judged: Verdict) -> str:
    """Return what may be done now."""
    if judged.answer == "pass":
        return f"`ml release {judged.challenger.bundle[:12]}` makes it the champion"
    if judged.answer == "inconclusive" and judged.days_needed:
        return f"about {judged.days_needed} labelled days would decide, these are {judged.recent.days}"
    kept = ", ".join(check.name for check in judged.checks if check.counts != "pass")
    return f"it stays a challenger, because of {kept}"
