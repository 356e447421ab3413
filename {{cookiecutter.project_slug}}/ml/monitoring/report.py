"""The monitor's report: one HTML page with everything in it, readable offline."""

from pathlib import Path
from typing import Any

from ml.contract.framing import framing
from ml.features.table import SCORE
from ml.monitoring import drift, plots
from ml.monitoring.look import Look, importance
from ml.pages import page, picture
from ml.settings import settings

PAGE = Path(__file__).with_name("report.html")


MOST = 6  # variables whose distributions are drawn


def render(look: Look, verdict: dict[str, Any]) -> str:
    """Return the page."""
    variables = {variable.name: variable for variable in look.bundle.reference.variables}
    scored = next(each for each in look.drifts if each.name == SCORE)
    ranked = sorted(look.drifts, key=lambda each: (each.answer == "exempt", -each.distance / each.threshold))
    reference, seen = look.bundle.reference, look.seen
    pictures = {
        "performance": plots.performance(reference, seen.served),
        "weeks": plots.weeks(reference, seen.served),
        "signals": [plots.signal(each, len(look.matured.days)) for each in look.signals],
        "scores": plots.shares(scored, drift.cells(variables[SCORE])),
        "calibration": picture.calibration(seen.drawn.outcomes, seen.drawn.scores, "served"),
        "drift": plots.drift(look.drifts),
        "shares": {
            each.name: plots.shares(each, drift.cells(variables[each.name]))
            for each in [one for one in ranked if one.name != SCORE][:MOST]
        },
    }
    return page.render(
        PAGE,
        project=settings().project,
        environment=settings().release.environment,
        framing=framing(),
        verdict=verdict,
        look=look,
        matured=look.matured,
        meant=plots.MEANT,
        weighed=bool(importance(look.bundle)),
        ranked=ranked,
        tested=look.bundle.manifest["ladder"][look.bundle.rung]["test"],
        profiles=drift.summary(*look.profiles, list(variables)).to_dict("index"),
        pictures=pictures,
    )
