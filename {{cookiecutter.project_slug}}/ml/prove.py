"""Proves the gate on this code and data: a model trained as it should be passes, one trained on swapped outcomes fails.

The second looks as good as the first by its own evaluation, which read the swapped outcomes, too; only the gate, which
reads the records anew, can tell. Both live in an environment of their own, `prove`.
"""

import json
import os
import shutil
from dataclasses import replace
from datetime import date
from typing import NamedTuple

from ml.contract import bundle, verdict
from ml.contract.framing import framing
from ml.contract.verdict import Verdict
from ml.errors import ContractError
from ml.features.rows import from_parquet, to_parquet
from ml.gate.gate import gate
from ml.github.api import github
from ml.github.workflow import run_page, summary
from ml.pipeline.run import run
from ml.progress import say
from ml.revision import commit
from ml.settings import settings
from ml.statistics.metrics import Estimate
from ml.store import files
from ml.training.evaluate import evaluate
from ml.training.features import features
from ml.training.ingest import ingest
from ml.training.register import Made, register
from ml.training.train import train
from ml.training.validate import validate

ENVIRONMENT, PAGE = "prove", "prove.md"


class Proof(NamedTuple):
    """The verdicts on the model that has to pass and on the one that has to be rejected."""

    good: Verdict
    bad: Verdict

    @property
    def holds(self) -> bool:
        """Whether one passed, and the other failed for what it predicts."""
        failed = {check.name for check in self.bad.checks if check.answer == "fail"}
        return self.good.answer == "pass" and self.bad.answer == "fail" and "primary" in failed


def prove(since: date, until: date, comment: int | None) -> bool:
    """Train and judge both models on the days from `since` to `until`; say on one page what came out.

    The page goes below the store, into the summary of a workflow's job and, where `comment` names a pull request, there
    as one comment. Returns whether the proof holds.
    """
    os.environ["ML_RELEASE_ENVIRONMENT"] = ENVIRONMENT
    os.environ["ML_TRAIN_RUNGS"] = json.dumps(settings().train.rungs[:2])  # the baseline, and the first that learns
    settings.cache_clear()
    proof = _judged(run(since, until).bundle, swapped(since, until))
    text, place = page(proof, since, until), files.join(settings().reports_url, PAGE)
    files.write(place, text.encode())
    summary(text)
    if comment is not None:
        hub = github()
        say("comment", hub.comment(comment, ENVIRONMENT, text) if hub else "none: there is no GITHUB_TOKEN")
    say("prove", f"{'holds' if proof.holds else 'does not hold'}: page in {place}")
    return proof.holds


def _judged(good: str, bad: str) -> Proof:
    conf = settings()
    passed = verdict.load(conf.store_url, good, bundle.load(conf.store_url, good).baseline)
    if passed is None:
        raise ContractError("gate", f"the pipeline did not judge {good[:12]}", "See what it says above")
    return Proof(passed, gate(conf.lake_url, conf.store_url, good, bad))


def swapped(since: date, until: date) -> str:
    """Train on outcomes that are the wrong way round, as a wrong join makes them; return the bundle's digest."""
    conf = settings()
    folder = files.local(files.join(conf.store_url, ENVIRONMENT), "the model that has to be rejected")
    paths = (folder / name for name in ("records", "validation", "table", "leakage", "models", "evaluation"))
    records, validation, table, leakage, models, evaluation = paths
    ingest(conf.lake_url, since, until, records)
    validate(records, since, until, validation, folder / "data_docs")
    features(records, table, leakage)
    rows = from_parquet(table)
    files.write(str(table), to_parquet(replace(rows, outcomes=1 - rows.outcomes)))
    for rung in conf.train.rungs:
        train(table, models, rung, conf.train.seed, conf.train.threads)
    evaluate(table, [models], evaluation, conf.train.seed)
    made = Made(records, validation, table, leakage, [models], evaluation)
    digest = register(made, conf.store_url)
    shutil.rmtree(folder)
    return digest


def page(proof: Proof, since: date, until: date) -> str:
    """Return the result as Markdown: both verdicts, and where their pages and pictures are."""
    head = "The gate lets a good model pass and stops a bad one" if proof.holds else "**The gate is not to be trusted**"
    metric, days = framing().task.metric, proof.good.recent
    lines = [
        f"### {head}",
        "",
        f"| model | has to | answer | {metric}, 95 % over days | checks that did not pass |",
        "|---|---|---|---|---|",
        _row("trained as it should be", "pass", proof.good, metric),
        _row("trained on swapped outcomes", "fail", proof.bad, metric),
        "",
        f"Trained on {since} to {until}, judged on {days.rows:,} records of {days.days} days, "
        f"commit {(commit() or 'none')[:12]}.",
    ]
    if there := run_page():
        lines.append(f"The pages with all checks and pictures are [artifacts of this run]({there}).")
    return "\n".join(lines) + "\n"


def _row(how: str, has_to: str, judged: Verdict, metric: str) -> str:
    side = judged.challenger
    kept = ", ".join(check.name for check in judged.checks if check.counts != "pass")
    measured = Estimate(**side.recent[metric].model_dump())
    return f"| {side.rung} `{side.bundle[:12]}`, {how} | {has_to} | **{judged.answer}** | {measured} | {kept} |"
