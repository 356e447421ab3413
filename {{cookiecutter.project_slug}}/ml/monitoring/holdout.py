"""Which rows tell how good the champion is, where acting on its decision hides or changes what comes of it.

A refused credit never defaults, and a transaction that was stopped is no fraud that anybody sees. What is left of the
champion's rows are those that it thought harmless, so what is measured on them says little of the rest. A holdout's
entities are drawn at random and decided upon by something else; the champion scores them afterwards, as it would have.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ml.contract import labels
from ml.contract.bundle import Bundle, trained_until
from ml.contract.framing import Label
from ml.contract.release import Experiment
from ml.features.table import CATEGORIES, MISSING, NUMBERS, Inputs
from ml.monitoring.observations import Observations, observations
from ml.problem.schema import PERSONAL

OWN = ("bundle", "score", "outcome", "day", "delay_hours")  # all that is read where nothing has to be scored again
HELD = ("outcome", "day", "decision", "fallback", "experiment", "arm")  # by which it is found out who was held out


class Honest(NamedTuple):
    """Which of a day's labelled rows count, with the champion's scores: `of` them, where they have these `columns`.

    Without columns all are needed, because rows are scored again. `reason` says why an estimate from them is biased,
    and is empty where it is not.
    """

    of: Callable[[pd.DataFrame], Observations]
    columns: Sequence[str]
    reason: str = ""

    @property
    def scored_again(self) -> bool:
        """Whether the rows are others than those that the champion has answered."""
        return not self.columns


def honest(days: Iterable[pd.DataFrame], champion: Bundle, tried: Experiment | None, rule: Label) -> Honest:
    """Return by which labelled rows the champion may be judged, as `rule.hidden` says; `days` are all, with HELD.

    Where nothing is hidden, or no holdout shows all outcomes, these are the rows that it has answered itself; else the
    holdout's, scored by the champion from the features as they were logged.
    """
    own = Honest(lambda rows: observations(rows[rows.bundle == champion.digest]), OWN)
    if rule.hidden == "none":
        return own
    if tried is None or tried.mode != "holdout":
        return own._replace(reason="acting hides outcomes, and the release holds nobody out")
    held = (_held(rows, champion, tried) for rows in days)
    counts = [(len(rows), rows.outcome.count(), (rows.decision == (rule.hidden == "positive")).sum()) for rows in held]
    rows, outcomes, hidden = np.array(counts, dtype=np.int64).reshape(-1, 3).sum(axis=0)
    if not outcomes:
        return own._replace(reason=f"acting hides outcomes, and {tried.name} has none yet")
    if hidden:
        told = f"{hidden:,} of {rows:,} decisions hide their outcome"
        return own._replace(reason=f"in {tried.name} {told}: hold out by a bundle that decides {_never(rule)}")
    if personal := _personal(champion):
        return own._replace(reason=f"the log holds {personal[0]} of no person, so the holdout cannot be scored again")

    def scored(rows: pd.DataFrame) -> Observations:
        known = _held(rows, champion, tried)
        return observations(known, champion.scorer.score(_inputs(labels.features(known))))

    return Honest(scored, ())


def _held(rows: pd.DataFrame, champion: Bundle, tried: Experiment) -> pd.DataFrame:
    """Return the rows of a holdout's entities that the champion neither decided after all nor was fitted on."""
    drawn = (rows.experiment == tried.name) & rows.arm.isin(list(tried.arms)) & (rows.fallback == "")
    return rows[drawn & (rows.day > str(trained_until(champion.manifest)))]


def _never(rule: Label) -> str:
    return "never to act" if rule.hidden == "positive" else "always to act"


def _personal(champion: Bundle) -> list[str]:
    """Return the champion's features that the log holds as a hash, or not at all."""
    asked = champion.manifest["features"]
    return [each.name for each in (*NUMBERS, *CATEGORIES) if each.name in asked and each.field in PERSONAL]


def _inputs(logged: pd.DataFrame) -> Inputs:
    """Return logged features as the model reads them; one that was not computed then is missing."""
    numbers = logged.reindex(columns=[each.name for each in NUMBERS]).to_numpy(np.float32)
    texts = logged.reindex(columns=[each.name for each in CATEGORIES]).astype(object)
    return Inputs(numbers, texts.where(texts.notna(), MISSING).to_numpy(object))
