"""From rows to a verdict; pure but for the clock: the same rows give the same answer."""

import pandas as pd

from ml.contract.clock import Clock
from ml.contract.framing import fingerprint, framing
from ml.contract.release import CHAMPION
from ml.contract.verdict import Check, overall
from ml.errors import ContractError
from ml.experiment import effect, shadow, split
from ml.experiment.checks import asked
from ml.experiment.plan import Plan
from ml.experiment.served import SLOWEST, known, served, sides
from ml.experiment.verdict import CLAIMS, Comparison, Side, Verdict, compared, distrusted, reasons

NO_PLAN = "The release no longer names this experiment, so its planned shares are not known: the split was not checked."
NO_OUTCOMES = "{}: no outcome has come of what it was shown; cost and metric were not asked."


def of_arms(plan: Plan, labelled: pd.DataFrame) -> Verdict:
    """Return the verdict on a canary, an a/b test or a holdout; a split that is broken fails every check."""
    found = served(labelled, plan.name)
    split_checks = [split.crossed(found)]
    if plan.shares is not None:
        split_checks.insert(0, split.ratio(found, plan.shares))
    broken = any(check.answer == "fail" for check in split_checks)
    guardrails = effect.GUARDRAILS if plan.mode != "holdout" else ()  # what is held out may well be quicker
    comparisons = []
    for arm in found.arms:
        checks = [asked(effect.primary, found, arm, plan.mode), *(asked(check, found, arm) for check in guardrails)]
        checks = [distrusted(check) for check in checks] if broken else checks
        comparisons.append(compared(arm, checks, effect.sequence(found, arm, plan.mode), {}))
    notes = [NO_PLAN] if plan.shares is None else []
    return _verdict(plan, found.rows, sides(found), split_checks, comparisons, notes)


def of_shadow(plan: Plan, events: pd.DataFrame, outcomes: pd.DataFrame) -> Verdict:
    """Return the verdict on a shadow, of its own events; raises ContractError where it has been shown nothing."""
    if not len(events):
        raise ContractError("experiment", f"{plan.name} has no shadow events", "Wait for requests, or see --name")
    whole = shadow.mirrored(events, outcomes)
    comparisons, arms, notes = [], [_side(CHAMPION, whole.drop_duplicates("request_id"), "champion_")], []
    for arm, rows in whole.groupby("arm"):
        labelled = rows.cost.notna().any()
        checks = [asked(check, rows) for check in (*shadow.ALWAYS, *(shadow.WITH_OUTCOMES if labelled else ()))]
        notes += [] if labelled else [NO_OUTCOMES.format(arm)]
        comparisons.append(compared(str(arm), checks, shadow.sequence(rows), shadow.facts(rows)))
        arms.append(_side(str(arm), rows, ""))
    return _verdict(plan, whole, arms, [], comparisons, notes)


def _side(arm: str, rows: pd.DataFrame, side: str) -> Side:
    """Return how the champion, or a shadow, did on the requests that shadows were shown."""
    milliseconds = 1000 * rows[f"{side}seconds"]
    return Side(
        arm=arm,
        bundles=sorted(rows["champion" if side else "bundle"].unique()),
        entities=rows.entity.nunique(),
        requests=len(rows),
        labelled=int(rows.cost.notna().sum()),
        cost=known(rows[f"{side}cost"].mean()),
        loss=known(rows[f"{side}loss"].mean()),
        p50_ms=known(milliseconds.median()),
        p99_ms=known(milliseconds.quantile(SLOWEST)),
        fallbacks=None,
    )


def _verdict(
    plan: Plan,
    rows: pd.DataFrame,
    arms: list[Side],
    split_checks: list[Check],
    comparisons: list[Comparison],
    notes: list[str],
) -> Verdict:
    answers = [*(check.answer for check in split_checks), *(each.answer for each in comparisons)]
    answer = overall(answers)
    return Verdict(
        verdict=answer,
        reasons=reasons(answer, split_checks, comparisons),
        name=plan.name,
        mode=plan.mode,
        plan=plan.release,
        claim=CLAIMS[plan.mode],
        judged_at=Clock("wall").now(),
        since=rows.day.min(),
        until=rows.day.max(),
        days=rows.day.nunique(),
        alpha=framing().experiment.alpha,
        framing=fingerprint(),
        arms=arms,
        split=split_checks,
        comparisons=comparisons,
        notes=notes,
    )
