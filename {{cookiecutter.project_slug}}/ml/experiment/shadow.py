"""What a shadow would have answered: the same requests, so everything is paired; entities are the unit of chance."""

from typing import Any

import numpy as np
import pandas as pd
from pydantic import JsonValue
from scipy.stats import kendalltau, spearmanr

from ml.contract.framing import framing
from ml.contract.verdict import Check
from ml.experiment.checks import fine, held, once_positive, portion, signed
from ml.experiment.served import SLOWEST, known
from ml.experiment.verdict import Point
from ml.pages.words import percent, words
from ml.statistics.anytime import Anytime
from ml.statistics.clusters import Effect, mean, sums
from ml.statistics.metrics import cost_of, losses

SHED, TIMEOUT, ERROR = "shed", "timeout", "error"
QUANTILES = (0.5, 0.9, 0.99, 1.0)


def mirrored(events: pd.DataFrame, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return one arm's shadow events with day, and what each request came to for challenger and champion.

    `outcomes` has request_id, day and outcome. A request that nobody could assign is an entity of its own. A measure is
    NaN where it is not known: the shadow failed, or no outcome has come.
    """
    rows = events.merge(outcomes[["request_id", "day", "outcome"]], on="request_id", how="left")
    answered = rows.error == ""
    decided = rows.decision.where(answered, rows.champion_decision).astype(bool)
    there, outcome = answered & rows.outcome.notna(), rows.outcome.fillna(0).to_numpy()
    costs, metric = framing().cost.costs, framing().task.metric
    found: dict[str, Any] = {
        "failed": (~answered).astype(float).where(rows.error != SHED),
        "flipped": (decided != rows.champion_decision.astype(bool)).astype(float).where(answered),
    }
    for side, score, acted in (("", rows.score, decided), ("champion_", rows.champion_score, rows.champion_decision)):
        found[f"{side}cost"] = np.where(there, cost_of(outcome, acted.to_numpy(), costs), np.nan)
        found[f"{side}loss"] = np.where(there, losses(outcome, score.to_numpy(float))[metric], np.nan)
    entity = rows.entity.where(rows.entity.notna(), rows.request_id)
    here = rows.time.dt.tz_convert(framing().time.timezone).dt.strftime("%Y-%m-%d")
    return rows.assign(entity=entity, day=rows.day.where(rows.day.notna(), here), **found)


def flips(rows: pd.DataFrame) -> Check:
    """Decisions that change surprise somebody: few may."""
    limit = framing().experiment.flips
    effect = _mean(rows, rows.flipped, share=True)
    question = f"Are fewer than {percent(limit)} of the decisions changed?"
    return held("flips", question, "share of decisions changed", effect, limit, limit, portion)


def errors(rows: pd.DataFrame) -> Check:
    """Requests that it was shown and did not answer; what was shed it was never shown."""
    limit = framing().experiment.errors
    effect = _mean(rows, rows.failed, share=True)
    question = f"Does it fail on fewer than {percent(limit)} of the requests?"
    return held("errors", question, "share of requests failed", effect, limit, limit, portion)


def primary(rows: pd.DataFrame) -> Check:
    """What its decisions would have cost."""
    margin = framing().experiment.margin
    effect = _mean(rows, rows.cost - rows.champion_cost)
    question = f"Would it cost at most {margin:g} more per thousand decisions?"
    check = held("primary", question, "cost, challenger minus champion", effect, margin, margin, signed)
    return once_positive(check, int(rows.outcome.sum()))


def metric(rows: pd.DataFrame) -> Check:
    """What it would have lost in the metric that models are compared by."""
    margin, name = framing().gate.margin, words(framing().task.metric)
    effect = _mean(rows, rows.loss - rows.champion_loss)
    question = f"Would the {name} be at most {margin:g} worse?"
    check = held("metric", question, f"{name}, challenger minus champion", effect, margin, margin, fine)
    return once_positive(check, int(rows.outcome.sum()))


ALWAYS, WITH_OUTCOMES = (flips, errors), (primary, metric)


def _mean(rows: pd.DataFrame, values: "pd.Series[float]", *, share: bool = False) -> Effect:
    there = values.notna()
    return mean(sums(values[there].to_numpy(np.float64), rows.entity[there].to_numpy()), share=share)


def sequence(rows: pd.DataFrame) -> list[Point]:
    """Return the share of changed decisions as it was after each day on which two entities had been seen."""
    asked, points = framing().experiment, []
    for day in sorted(rows.day.unique()):
        seen = rows[rows.day <= day]
        if seen[seen.flipped.notna()].entity.nunique() > 1:
            effect = _mean(seen, seen.flipped, share=True)
            bounds = Anytime(effect.value, effect.error, asked.flips)
            points.append(Point(day=day, value=effect.value, low=bounds.low(asked.tail), high=bounds.high(asked.tail)))
    return points


def facts(rows: pd.DataFrame) -> dict[str, JsonValue]:
    """Return what has no limit: how far scores lie apart, whether they rank alike, waiting times, failures by kind."""
    answered = rows[rows.error == ""]
    new, old = answered.score.to_numpy(np.float64), answered.champion_score.to_numpy(np.float64)
    apart = np.abs(new - old)
    return {
        "requests": len(rows),
        "answered": len(answered),
        "failures": {kind: int((rows.error == kind).sum()) for kind in (TIMEOUT, ERROR, SHED)},
        "score_difference": known(apart.mean()) if len(apart) else None,
        "score_difference_quantiles": {str(q): float(np.quantile(apart, q)) for q in QUANTILES if len(apart)},
        "kendall": known(kendalltau(new, old).statistic) if len(apart) > 1 else None,
        "spearman": known(spearmanr(new, old).statistic) if len(apart) > 1 else None,
        "p50_ms": known(1000 * rows.seconds.median()),
        "p99_ms": known(1000 * rows.seconds.quantile(SLOWEST)),
        "champion_p50_ms": known(1000 * rows.champion_seconds.median()),
        "champion_p99_ms": known(1000 * rows.champion_seconds.quantile(SLOWEST)),
    }
