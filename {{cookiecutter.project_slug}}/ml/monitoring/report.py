"""The monitor's report: one HTML page with everything in it, readable offline."""

from pathlib import Path
from typing import Any

import numpy as np

from ml.contract.framing import framing
from ml.features.table import SCORE
from ml.monitoring import drift, plots
from ml.monitoring.look import Look
from ml.pages import page, picture
from ml.settings import settings

PAGE = Path(__file__).with_name("report.html")


def render(look: Look, verdict: dict[str, Any]) -> str:
    """Return the page."""
    variables = {variable.name: variable for variable in look.bundle.reference.variables}
    scored = next(each for each in look.drifts if each.name == SCORE)
    pictures = {
        "performance": plots.performance(look.bundle.reference, look.served),
        "alarm": plots.alarm(look.signal, len(look.days)),
        "scores": plots.scores(scored, drift.cells(variables[SCORE])),
        "calibration": picture.calibration(look.matured.outcomes, look.matured.scores, "served"),
        "drift": plots.drift(look.drifts),
    }
    return page.render(
        PAGE,
        project=settings().project,
        framing=framing(),
        verdict=verdict,
        look=look,
        days=len(look.days),
        coverage=float(np.mean(look.window.matured)),
        tested=look.bundle.manifest["ladder"][look.bundle.rung]["test"],
        profiles=drift.summary(*look.profiles, list(variables)).to_dict("index"),
        pictures=pictures,
    )
