"""The case that is judged: two bundles and the very same rows, scored by both from raw records."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.features.rows import Rows, records_of, rows_of
from ml.problem import source
from ml.statistics.metrics import losses

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Raw records, their rows, and both models' scores of them, all of one length."""

    records: pd.DataFrame
    rows: Rows
    champion: Floats
    challenger: Floats

    @cached_property
    def difference(self) -> Floats:
        """Each row's loss in the primary metric, challenger's minus champion's: positive is worse."""
        metric = framing().task.metric
        ours, theirs = (losses(self.rows.outcomes, scores)[metric] for scores in (self.challenger, self.champion))
        return np.asarray(ours - theirs)


@dataclass(frozen=True)
class Case:
    """Champion and challenger on the newest matured days, which decide, and on the frozen test set, which guards.

    `own` are the challenger's test days, on which its manifest makes claims; `better` says that the challenger is
    claimed to be better, not only no worse; `simplest` are the scores of the simplest rung of the challenger's ladder.
    """

    champion: Bundle
    challenger: Bundle
    recent: Judged
    frozen: Judged
    own: Judged
    better: bool
    simplest: Floats | None = None

    @property
    def first(self) -> bool:
        """Whether the champion is no real one but the simplest rung of the challenger's own ladder."""
        return bool(self.champion.digest == self.challenger.manifest["baseline"])


def recent_days(lake: str, until: date, count: int) -> list[date]:
    """Return the newest `count` days up to `until` that are not of the frozen test set."""
    frozen = set(framing().frozen.days)
    there = [day for day in source.days(lake) if day <= until and day not in frozen]
    if len(there) < count:
        raise ContractError(
            "data", f"{lake} has {len(there)} days up to {until}, the gate reads {count}", "Ingest more"
        )
    return there[-count:]


def case(
    lake: str,
    champion: Bundle,
    challenger: Bundle,
    until: date | None = None,
    claim_better: bool = False,
    simplest: Bundle | None = None,
) -> Case:
    """Read the days and score them; `until` is by default the last day that either bundle was tested on.

    Raises ContractError where a score is no number, or an outcome not yet known.
    """
    for bundle in (champion, challenger):
        bundle.replay_golden()
    own = [date.fromisoformat(day) for day in challenger.manifest["test"]["days"]]
    last = max(own[-1], date.fromisoformat(champion.manifest["test"]["days"][-1]))
    recent = recent_days(lake, until or last, framing().time.test_days)

    def judged(days: list[date]) -> Judged:
        records = records_of(lake, days)
        rows = rows_of(records)
        return Judged(records, rows, scored(champion, rows), scored(challenger, rows))

    on_recent = judged(recent)
    on_own = on_recent if own == recent else judged(own)
    first = champion.digest == challenger.manifest["baseline"]
    return Case(
        champion,
        challenger,
        on_recent,
        judged(framing().frozen.days),
        on_own,
        claim_better or first,
        scored(simplest, on_recent.rows) if simplest else None,
    )


def scored(bundle: Bundle, rows: Rows) -> Floats:
    """Return a bundle's scores of some rows; raises ContractError where one is no probability."""
    scores = bundle.scorer.score(rows.inputs)
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ContractError("bundle", f"{bundle.digest[:12]} scores some rows with no probability", "Train again")
    return scores
