"""What a pull request that promotes says: what changes, the evidence for it, where it comes from, and the way back."""

import difflib
import re
from pathlib import Path
from typing import Any

from ml.contract import bundle as bundles
from ml.contract import release as contract
from ml.contract import verdict
from ml.contract.framing import framing
from ml.contract.verdict import Verdict
from ml.experiment.experiment import FOLDER
from ml.experiment.verdict import Verdict as Analysis
from ml.gate.report import sentence
from ml.github.workflow import run_page
from ml.pages import page
from ml.promotion.case import Case, Step
from ml.revision import git
from ml.settings import settings
from ml.statistics.metrics import Estimate
from ml.store import files

TEMPLATE = Path(__file__).with_name("body.md")
REMOTE = re.compile(r"^(?:https?://(?:[^@/]*@)?|(?:ssh://)?git@)([^:/]+)(?::\d+)?[:/](.+?)(?:\.git)?/?$")


def title(case: Case, step: Step) -> str:
    """Return the title, as "staging: lightgbm 3f1c0a9be2d4 as canary 25 %"."""
    if step.name == "images":
        return f"{case.environment}: another image of {step.what}"
    bundle = f"{_rung(step.what)} {step.what[:12]}"
    return f"{case.environment}: " + (f"withdraw {bundle}" if step.name == "withdrawal" else f"{bundle} as {step.name}")


def body(case: Case, step: Step) -> str:
    """Return the body, as Markdown for GitHub, which breaks a paragraph where a line ends: each is one line."""
    store, moves = settings().store_url, step.name != "images"
    gate = case.gate if step.relies_on_gate else None
    return page.render(
        TEMPLATE,
        case=case,
        step=step,
        cell=cell,
        estimate=lambda found: str(Estimate(**found.model_dump())),
        framing=framing(),
        made=bundles.load(store, step.what).manifest if moves else None,
        champion=f"`{_rung(case.now.champion)}` `{case.now.champion[:12]}`" if case.now else None,
        changes=_changes(case, step),
        gate=gate,
        sentence=sentence(gate) if gate else "",
        gate_page=_page(_of_gate(gate)) if gate else "",
        card=_page(bundles.folder(store, step.what), bundles.PAGE) if moves else "",
        analysis=case.analysis if moves and case.now and case.now.experiment else None,
        analysis_page=_page(_of(case.analysis)) if case.analysis else "",
        run=run_page(),
        repository=_repository(),
    )


def pages(case: Case, step: Step) -> list[str]:
    """Return where the pages lie that the body speaks of: with pictures, for who cannot reach the store."""
    gate = [_of_gate(case.gate)] if case.gate and step.relies_on_gate else []
    analysis = [_of(case.analysis)] if case.analysis and step.name != "images" else []
    card = [files.join(bundles.folder(settings().store_url, step.what), bundles.PAGE)] if step.name != "images" else []
    return [*gate, *analysis, *card]


def cell(text: Any) -> str:
    """Return a text as a table of GitHub's Markdown can hold it: no column, no tag and no person comes of it."""
    plain = " ".join(str(text).split())
    for sign, instead in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("@", "@\u200b"), ("`", "\\`"), ("*", "\\*")):
        plain = plain.replace(sign, instead)
    return plain


def _changes(case: Case, step: Step) -> str:
    """Return how the release file changes, line by line."""
    before = contract.text(case.now).splitlines() if case.now else []
    lines = difflib.unified_diff(before, contract.text(step.to).splitlines(), lineterm="", n=9)
    return "\n".join(list(lines)[3:])


def _of_gate(gate: Verdict) -> str:
    return files.join(verdict.folder(settings().store_url, gate.challenger.bundle, gate.champion.bundle), verdict.PAGE)


def _of(analysis: Analysis) -> str:
    return files.join(settings().reports_url, FOLDER, f"{analysis.name}.html")


def _page(*parts: str) -> str:
    """Return where a page lies below the store, whose own place says nothing to who reads this."""
    return files.join(*parts).removeprefix(f"{settings().store_url}/")


def _rung(digest: str) -> str:
    return bundles.load(settings().store_url, digest).rung


def _repository() -> str:
    """Return the address of the repository's pages, "" where it has no remote."""
    found = REMOTE.match(git("remote", "get-url", "origin") or "")
    return f"https://{found[1]}/{found[2]}" if found else ""
