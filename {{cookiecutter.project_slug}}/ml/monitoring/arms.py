"""The arms of a window side by side: what each bundle answered, and what came of it."""

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import numpy as np

from ml.contract import labels
from ml.contract.framing import framing
from ml.statistics.metrics import Estimate, estimates

COLUMNS = ("bundle", "arm", "score", "outcome", "day")


class Arm(NamedTuple):
    """What one bundle did as one arm: rows, rows with an outcome, and of those every metric with its interval."""

    arm: str
    bundle: str
    rows: int
    matured: int
    performance: dict[str, Estimate]


def side_by_side(url: str, since: date, until: date) -> Iterator[Arm]:
    """Yield each arm that answered in some days; arms differ in who was assigned to them only where a router drew."""
    rows = labels.read(url, since, until, COLUMNS)
    for (arm, bundle), own in rows.assign(arm=rows.arm.fillna("").replace("", "all")).groupby(["arm", "bundle"]):
        known = own[own.outcome.notna()]
        found = {}
        if known.outcome.nunique() > 1:
            days = known.day.to_numpy(str)
            outcomes, scores = known.outcome.to_numpy(np.float64), known.score.to_numpy(np.float64)
            found = estimates(outcomes, scores, days, framing().cost.costs)
        yield Arm(str(arm), str(bundle), len(own), len(known), found)
