"""The rows of an experiment as they were served: each with its arm, its entity, and what it is measured by."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.contract.framing import framing
from ml.contract.release import CHAMPION
from ml.errors import ContractError
from ml.experiment.verdict import Side
from ml.statistics.clusters import Sums, sums
from ml.statistics.metrics import cost_of, losses

NEEDED = ("time", "day", "bundle", "score", "decision", "experiment", "arm", "fallback", "seconds", "outcome")
SLOWEST = 0.99  # the quantile that callers remember


@dataclass(frozen=True)
class Served:
    """Rows with an arm and an entity, and what labelled rows before the first of them came to; entities are numbers."""

    rows: pd.DataFrame
    before: pd.DataFrame

    @property
    def arms(self) -> list[str]:
        """The challengers that were seen, in order."""
        return sorted(set(self.rows.arm.unique()) - {CHAMPION})

    def positives(self, arm: str) -> int:
        """Return how many positives one arm has met."""
        return int(self.rows.outcome[self.rows.arm == arm].sum())

    def sums(self, arm: str, column: str, until: str | None = None) -> Sums:
        """Return one measure of one arm by entity, up to a day; rows on which it is not known are left out."""
        rows = self._of(arm, column, until)
        return sums(_numbers(rows, column), rows.entity.to_numpy())

    def covariates(self, arm: str, column: str, until: str | None = None) -> list[Sums]:
        """Return what no arm can have changed of the entities that `sums` counts.

        That is the same measure before the experiment, and the outcomes in it: they are what happened, whatever was
        decided. Arms that met more positives by chance cost more, and are forgiven it.
        """
        rows, past = self._of(arm, column, until), self.before
        counted = rows.entity.to_numpy()
        before = sums(_numbers(past, column), past.entity.to_numpy(), counted)
        return [before, sums(_numbers(rows, "outcome"), counted)]

    def _of(self, arm: str, column: str, until: str | None) -> pd.DataFrame:
        there = (self.rows.arm == arm) & self.rows[column].notna()
        there = there if until is None else there & (self.rows.day <= until)
        return self.rows.loc[there, ["entity", "outcome", column]]


def served(labelled: pd.DataFrame, name: str) -> Served:
    """Return the rows of an experiment; raises ContractError where the champion or every challenger has none.

    Rows count in the arm that they were assigned to, whoever answered: a model that often fails is worth less.
    """
    known = measured(labelled[labelled.entity.notna()])
    ours = known[(known.experiment == name) & known.arm.notna()]
    seen = sorted(ours.arm.unique())
    if CHAMPION not in seen or len(seen) < 2:
        broken = f"{name} has no rows of the champion and of a challenger (arms seen: {', '.join(seen) or 'none'})"
        raise ContractError("experiment", broken, "Run `ml label`, or wait for requests")
    before = known[(known.time < ours.time.min()) & known.outcome.notna()]
    return Served(ours, before[["entity", "cost", "loss"]])


def measured(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with cost per thousand and loss, where an outcome has come; entities as numbers."""
    there, outcomes = rows.outcome.notna().to_numpy(), rows.outcome.fillna(0).to_numpy()
    cost = cost_of(outcomes, rows.decision.to_numpy(), framing().cost.costs)
    loss = losses(outcomes, rows.score.to_numpy(np.float64))[framing().task.metric]
    return rows[list(NEEDED)].assign(
        entity=pd.factorize(rows.entity)[0],
        cost=np.where(there, cost, np.nan),
        loss=np.where(there, loss, np.nan),
        slow=(1000 * rows.seconds > framing().budget.latency_p99_ms).astype(np.float64),
        fallback_used=(rows.fallback != "").astype(np.float64),
    )


def sides(found: Served) -> list[Side]:
    """Return how each arm did, the champion first."""
    return [_side(arm, found.rows[found.rows.arm == arm]) for arm in (CHAMPION, *found.arms)]


def _side(arm: str, rows: pd.DataFrame) -> Side:
    milliseconds = 1000 * rows.seconds
    return Side(
        arm=arm,
        bundles=sorted(rows.bundle.unique()),
        entities=rows.entity.nunique(),
        requests=len(rows),
        labelled=int(rows.cost.notna().sum()),
        cost=known(rows.cost.mean()),
        loss=known(rows.loss.mean()),
        p50_ms=known(milliseconds.median()),
        p99_ms=known(milliseconds.quantile(SLOWEST)),
        fallbacks=known(rows.fallback_used.mean()),
    )


def known(value: Any) -> float | None:
    """Return a plain number, or None for NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)


def _numbers(rows: pd.DataFrame, column: str) -> np.ndarray:
    return rows[column].to_numpy(np.float64)
