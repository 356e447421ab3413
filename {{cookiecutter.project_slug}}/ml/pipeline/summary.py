"""What a run ends with: the table of all rungs, and the verdict on the one that was chosen."""

import shutil
from pathlib import Path

from ml.contract import bundle, release, verdict
from ml.contract.framing import framing
from ml.contract.verdict import Verdict
from ml.github import workflow
from ml.pipeline.run import Run
from ml.progress import say, table
from ml.settings import settings
from ml.statistics.inference import Answer
from ml.statistics.metrics import Estimate
from ml.store import files

SHOWN = {"log_loss": "log loss", "roc_auc": "ROC-AUC", "cost": "cost per thousand"}


def show(ran: Run) -> Answer | None:
    """Print the ladder and the verdict of a run, and return its answer; None where it was not judged.

    A workflow gets both as outputs, `bundle` and `verdict`, and the reason as the summary of its job.
    """
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
        workflow.output("bundle", ran.bundle)
        workflow.output("verdict", judged.answer)
        workflow.summary(_why(judged))
        say("page", files.join(verdict.folder(store, ran.bundle, against), verdict.PAGE))
    if ran.data_docs:
        say("data docs", str(ran.data_docs))
    return judged.answer if judged else None


def keep(ran: Run, folder: Path) -> None:
    """Leave verdict, model card and the data checks of a run in a folder, for people who cannot reach the store."""
    store = settings().store_url
    judged = verdict.folder(store, ran.bundle, release.judged_against(bundle.load(store, ran.bundle)))
    folder.mkdir(parents=True, exist_ok=True)
    for home, names in (
        (judged, (verdict.FILE, verdict.PAGE)),
        (bundle.folder(store, ran.bundle), (bundle.CARD, bundle.PAGE)),
    ):
        for name in names:
            (folder / name).write_bytes(files.read(files.join(home, name)))
    if ran.data_docs:
        shutil.copytree(ran.data_docs.parent, folder / "data_docs", dirs_exist_ok=True)
    say("evidence", f"verdict, model card and data checks of {ran.bundle[:12]} lie in {folder}")


def show_verdict(judged: Verdict, every: bool) -> None:
    """Print the checks, all of them or those that did not pass."""
    rows = [
        [each.name, f"waived by {each.waiver.owner}" if each.waiver else each.answer, each.said]
        for each in judged.checks
        if every or each.answer != "pass"
    ]
    if rows:
        table("The gate's checks" if every else "Checks that did not pass", ["check", "answer", "said"], rows)


def _why(judged: Verdict) -> str:
    rows = [f"| {each.name} | {each.counts} | {each.said} |" for each in judged.checks if each.counts != "pass"]
    table = ["", "| check | answer | said |", "|---|---|---|", *rows] if rows else []
    head = f"**{judged.answer}**: {judged.challenger.rung} `{judged.challenger.bundle[:12]}`, {next_step(judged)}"
    return "\n".join([head, *table])


def next_step(judged: Verdict) -> str:
    """Return what may be done now."""
    if judged.answer == "pass":
        return f"`ml release {judged.challenger.bundle[:12]}` makes it the champion"
    if judged.answer == "inconclusive" and judged.days_needed:
        said = f"about {judged.days_needed} labelled days would decide, these are {judged.recent.days} (time.test_days)"
        return f"{said}; `ml gate --until DAY` looks at later ones"
    kept = ", ".join(check.name for check in judged.checks if check.counts != "pass")
    return f"it stays a challenger, because of {kept}"
