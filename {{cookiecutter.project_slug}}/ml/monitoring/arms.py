"""The arms of a window side by side: what each bundle answered, and what came of it."""

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd

from ml.contract import labels
from ml.contract.framing import framing
from ml.statistics.metrics import Estimate, estimates

WHOSE = ["arm", "bundle"]
SEED = 0


class Arm(NamedTuple):
    """What one bundle did as one arm: rows, rows with an outcome, and of those every metric with its interval."""

    arm: str
    bundle: str
    rows: int
    matured: int
    performance: dict[str, Estimate]


def side_by_side(url: str, since: date, until: date, most: int) -> Iterator[Arm]:
    """Yield each arm that answered in some days; none where nobody answered beside it.

    Arms differ in who was assigned to them only where a router drew. Metrics are of a share of all rows, of which the
    largest arm has `most`, at most about.
    """
    days = [_named(rows).groupby(WHOSE).outcome.agg(["size", "count"]) for rows in _days(url, since, until)]
    answered = pd.concat(days).groupby(level=WHOSE).sum()
    if len(answered) < 2:
        return
    share, rng = most / max(answered["count"].max(), 1), np.random.default_rng(SEED)
    parts = [
        _named(rows)[rows.outcome.notna() & (rng.random(len(rows)) < share)]
        for rows in _days(url, since, until, "score", "day")
    ]
    drawn = dict(list(pd.concat(parts).groupby(WHOSE)))
    for (arm, bundle), (rows, matured) in zip(answered.index, answered.to_numpy(), strict=True):
        yield Arm(arm, bundle, int(rows), int(matured), _performance(drawn.get((arm, bundle))))


def _performance(known: pd.DataFrame | None) -> dict[str, Estimate]:
    """Return every metric of rows with outcomes; none where these are all alike."""
    if known is None or known.outcome.nunique() < 2:
        return {}
    outcomes, scores = known.outcome.to_numpy(np.float64), known.score.to_numpy(np.float64)
    return estimates(outcomes, scores, known.day.to_numpy(str), framing().cost.costs)


def _days(url: str, since: date, until: date, *more: str) -> Iterator[pd.DataFrame]:
    return (rows for _, rows in labels.by_day(url, since, until, [*WHOSE, "outcome", *more]))


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(arm=rows.arm.fillna("").replace("", "all"))
