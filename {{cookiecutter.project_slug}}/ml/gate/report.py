"""The verdict's page: the answer, what decided, and every number behind it; made of the verdict alone."""

from pathlib import Path

from ml.contract.framing import framing
from ml.contract.verdict import Verdict
from ml.gate import plots
from ml.pages import page
from ml.pages.words import listed
from ml.settings import settings

PAGE = Path(__file__).with_name("gate.html")
LOSSES = ("primary", "better", "frozen")  # checks of the loss over all rows; `slices` asks the same of parts


def render(verdict: Verdict) -> str:
    """Return the page."""
    checks = {check.name: check for check in verdict.checks}
    whole = {name: checks[name].intervals[0] for name in LOSSES if name in checks and checks[name].intervals}
    slices = {each.of: each for each in checks["slices"].intervals} if "slices" in checks else {}
    return page.render(
        PAGE,
        project=settings().project,
        framing=framing(),
        verdict=verdict,
        sentence=sentence(verdict),
        deciding=[check for check in verdict.checks if check.counts == verdict.answer != "pass"],
        picture=plots.differences(whole, slices) if whole else "",
    )


def sentence(verdict: Verdict) -> str:
    """Say in a sentence or two what decided."""
    count = len(verdict.checks)
    failed, still_open = (
        [check.name for check in verdict.checks if check.counts == answer] for answer in ("fail", "inconclusive")
    )
    waived = [check.name for check in verdict.checks if check.waiver]
    if failed:
        said = f"{len(failed)} of {count} checks failed: {listed(failed)}."
        said += f" Open: {listed(still_open)}." if still_open else ""
    elif still_open:
        said = f"No check failed, but {len(still_open)} of {count} could not be decided: {listed(still_open)}."
        if needed := verdict.days_needed:
            said += f" About {needed} labelled days would decide; these are {verdict.recent.days}."
    else:
        said = f"{count - len(waived)} of {count} checks passed." if waived else f"All {count} checks passed."
    return said + (f" Waived: {listed(waived)}." if waived else "")
