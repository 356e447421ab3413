"""Makes the verdict's page."""

from pathlib import Path
from typing import Any

import pandas as pd

from ml.contract.framing import framing
from ml.contract.verdict import Interval
from ml.experiment import plots
from ml.experiment.verdict import Comparison, Verdict
from ml.pages import page
from ml.settings import settings

TEMPLATE = Path(__file__).with_name("report.html")
DECIDING = {"shadow": ("flips", 100.0, "% of decisions changed")}  # check, scale and label of the daily picture
COST = ("primary", 1.0, "cost per thousand, difference")


def render(found: Verdict, shadows: pd.DataFrame) -> str:
    """Return the page of a verdict; `shadows` are the events that one on a shadow is of."""
    return page.render(
        TEMPLATE,
        project=settings().project,
        environment=settings().release.environment,
        framing=framing(),
        verdict=found,
        pictures={each.arm: _pictures(found, each, shadows) for each in found.comparisons},
    )


def _pictures(found: Verdict, compared: Comparison, shadows: pd.DataFrame) -> dict[str, Any]:
    """Return one arm's pictures, "" for each that has nothing to show."""
    name, scale, label = DECIDING.get(found.mode, COST)
    intervals = {check.name: each for check in compared.checks for each in check.intervals}
    made: dict[str, Any] = {"sequence": "", "scores": "", "waits": "", "intervals": _small(intervals)}
    if compared.sequence and name in intervals:
        made["sequence"] = plots.sequence(compared.sequence, intervals[name], scale, label)
    if len(shadows):
        ours = shadows[shadows.arm == compared.arm]
        answered = ours[ours.error == ""]
        if len(answered):
            made["scores"] = plots.scores(answered)
            made["waits"] = plots.waits(ours.champion_seconds.dropna().to_numpy(), ours.seconds.dropna().to_numpy())
    return made


def _small(intervals: dict[str, Interval]) -> dict[str, Any]:
    return {name: plots.interval(each) for name, each in intervals.items()}
