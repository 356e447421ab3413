"""Which rows tell how good the champion is, where acting on its decision hides or changes what comes of it.

A refused credit never defaults, and a transaction that was stopped is no fraud that anybody sees. What is left of the
champion's rows are those that it thought harmless, so what is measured on them says little of the rest. A holdout's
entities are drawn at random and decided upon by something else; the champion scores them afterwards, as it would have.
"""

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


class Honest(NamedTuple):
    """Rows with the champion's scores, and why an estimate from them is biased; empty where it is not."""

    rows: Observations
    reason: str = ""

    @property
    def biased(self) -> bool:
        """Whether what is measured on these rows is not what holds for all."""
        return bool(self.reason)


def honest(labelled: pd.DataFrame, champion: Bundle, tried: Experiment | None, rule: Label) -> Honest:
    """Return the labelled rows by which the champion may be judged, as `rule.hidden` says.

    Where nothing is hidden, or no holdout shows all outcomes, these are the rows that it has answered itself; else the
    holdout's, scored by the champion from the features as they were logged.
    """
    own = observations(labelled[labelled.bundle == champion.digest])
    if rule.hidden == "none":
        return Honest(own)
    if tried is None or tried.mode != "holdout":
        return Honest(own, "acting hides outcomes, and the release holds nobody out")
    held = labelled[(labelled.experiment == tried.name) & labelled.arm.isin(list(tried.arms))]
    held = held[held.fallback == ""]  # else the champion has decided after all
    held = held[held.day > str(trained_until(champion.manifest))]  # what it was fitted on, it scores too well
    if not held.outcome.notna().any():
        return Honest(own, f"acting hides outcomes, and {tried.name} has none yet")
    if hidden := int((held.decision == (rule.hidden == "positive")).sum()):
        told = f"{hidden:,} of {len(held):,} decisions hide their outcome"
        return Honest(own, f"in {tried.name} {told}: hold out by a bundle that decides {_never(rule)}")
    if personal := _personal(champion):
        return Honest(own, f"the log holds {personal[0]} of no person, so the holdout cannot be scored again")
    return Honest(observations(held, champion.scorer.score(_inputs(labels.features(held)))))


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
