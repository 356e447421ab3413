"""Is the challenger what it says? Data checks, leaks, overlap, claims that come out again, and where it came from."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from ml.contract import bundle as bundles
from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.contract.verdict import Check
from ml.features.leakage import Probe, probes
from ml.features.rows import Rows, rows_of
from ml.gate.case import Case, Judged
from ml.statistics.inference import Answer
from ml.statistics.metrics import losses

CLAIM = 1e-6
NEEDED = ("tree", "locks", "data")


def found(name: str, question: str, broken: list[str], fine: str, evidence: dict[str, Any] | None = None) -> Check:
    """Return the check that fails with what is broken, or passes saying what is fine."""
    answer: Answer = "fail" if broken else "pass"
    return Check(name=name, question=question, answer=answer, said="; ".join(broken) or fine, evidence=evidence or {})


def data(case: Case) -> Check:
    """The records it was trained on passed their checks."""
    checks = case.challenger.manifest.get("data_checks") or {}
    failed, asked = checks.get("broken"), checks.get("rules")
    broken = [] if failed == 0 and asked else [f"{failed} of {asked} rules were broken by its training data"]
    return found("data", "Did its training data pass every data check?", broken, f"all {asked} rules hold", checks)


def leakage(case: Case) -> Check:
    """No feature knows the outcome: in training, today, or because it looks into later records."""
    told = [_probe(each) for each in case.challenger.manifest.get("leakage") or []]
    broken = [] if told else ["its training recorded no probe of its features"]
    broken += [f"in training, {said}" for probe in told for said in probe.leaks()]
    today = probes(case.recent.rows)
    broken += [f"on the newest days, {said}" for probe in today for said in probe.leaks()]
    broken += [f"{name} changes with outcomes or later records" for name in time_travel(case.recent)]
    strongest = max(today, key=lambda probe: probe.auc)
    fine = f"the strongest feature alone, {strongest.feature}, has ROC-AUC {strongest.auc:.3f}; none looks ahead"
    return found(
        "leakage",
        "Does no feature know the outcome?",
        broken,
        fine,
        {"auc": {probe.feature: probe.auc for probe in today}},
    )


def _probe(told: dict[str, Any]) -> Probe:
    return Probe(**{**told, "usual": tuple(told["usual"]), "found": tuple(told["found"])})


def time_travel(judged: Judged) -> list[str]:
    """Return the features that come out otherwise when outcomes are flipped and later days have not happened yet."""
    target, rows = framing().task.positive, judged.rows
    early = rows.days <= np.unique(rows.days)[len(np.unique(rows.days)) // 2]
    past = judged.records[early]
    again = rows_of(past.assign(**{target: 1 - past[target]}))
    whole = rows.where(early).frame
    return [str(name) for name in whole if not _equal(whole[name], again.frame[name])]


def _equal(one: "pd.Series[Any]", two: "pd.Series[Any]") -> bool:
    if one.dtype == object or str(one.dtype).startswith("str"):
        return bool((one.to_numpy(object) == two.to_numpy(object)).all())
    return bool(np.array_equal(one.to_numpy(), two.to_numpy(), equal_nan=True))


def overlap(case: Case) -> Check:
    """Neither model was fitted on days or records that it is judged on."""
    broken, champion = untold(case.challenger), untold(case.champion)
    first = case.recent.rows.days.min()
    for bundle, said in ((case.challenger, broken), (case.champion, champion)):
        last = max([*bundle.fitted_on["days"], *tuned_on(bundle)], default="")
        if last >= first:
            said.append(
                f"the {bundle.rung} {bundle.digest[:12]} was fitted or tuned on days up to {last}, not before {first}"
            )
    for name, judged in (("newest days", case.recent), ("frozen test set", case.frozen)):
        broken += [
            f"the challenger was fitted on {said} of the {name}" for said in shared(case.challenger, judged.rows)
        ]
        champion += [f"the champion was fitted on {said} of the {name}" for said in shared(case.champion, judged.rows)]
    answer: Answer = "fail" if broken else "inconclusive" if champion else "pass"
    days = len(case.challenger.fitted_on["days"])
    return Check(
        name="overlap",
        question="Was neither model fitted on what it is judged by?",
        answer=answer,
        said="; ".join(broken + champion) or f"none of {days} fitted days, and no fitted record, is judged",
    )


def untold(bundle: Bundle) -> list[str]:
    """Return what is missing of what a bundle has to say of the days and records that it was fitted on."""
    days, keys = bundle.fitted_on["days"], bundle.fitted_on["keys"]
    whole = days and keys and [days[0], days[-1]] == bundle.manifest["fit"]["span"]
    return [] if whole else [f"{bundle.rung} {bundle.digest[:12]} does not say on what it was fitted"]


def tuned_on(bundle: Bundle) -> list[str]:
    """Return the first and last day on which a bundle's parameters were tuned; none where they were not."""
    return list(bundle.manifest["ladder"][bundle.rung].get("tuned_on", []))


def shared(bundle: Bundle, rows: Rows) -> list[str]:
    """Return what a bundle was fitted on among some rows: days, and records by the hashes that it has left."""
    days = sorted(set(bundle.fitted_on["days"]) & set(rows.days.tolist()))
    left = rows.keys[rows.keys % bundles.SAMPLED == 0]
    keys = set(bundle.fitted_on["keys"]) & {f"{key:016x}" for key in left.tolist()}
    said = [f"{len(days)} days (the first is {days[0]})"] if days else []
    return said + ([f"{len(keys)} of {len(left)} sampled records"] if keys else [])


def reproduction(case: Case) -> Check:
    """What its manifest claims of its test days comes out again, from raw records and today's features."""
    metric, rows = framing().task.metric, case.own.rows
    manifest = case.challenger.manifest
    claimed = manifest["ladder"][manifest["rung"]]["test"][metric]["value"]
    measured = float(losses(rows.outcomes, case.own.challenger)[metric].mean())
    days = manifest["test"]["days"]
    broken = []
    if len(rows.outcomes) != manifest["test"]["rows"]:
        broken.append(f"its test days hold {len(rows.outcomes):,} records now, {manifest['test']['rows']:,} then")
    if not abs(measured - claimed) <= CLAIM:  # so that NaN is no match
        broken.append(f"it claims {metric} {claimed:.6f} on its test days, raw records give {measured:.6f}")
    if (threshold := case.challenger.threshold) != framing().cost.costs.threshold:
        broken.append(f"it acts from {threshold:.4f} on, the framing's costs say {framing().cost.costs.threshold:.4f}")
    fine = f"{metric} {measured:.6f} on {date.fromisoformat(days[0])} to {days[-1]}, as claimed"
    question = "Do its claims come out again from raw records?"
    return found("reproduction", question, broken, fine, {"claimed": claimed, "measured": measured})


def provenance(case: Case) -> Check:
    """Code, locks and data that it came from are named, so that it can be made again."""
    came = case.challenger.manifest.get("provenance") or {}
    broken = [f"it does not say which {name} it came from" for name in NEEDED if not came.get(name)]
    commit = came.get("commit") or "no commit, the hash of the tree"
    return found("provenance", "Is it known what it was made from?", broken, f"{commit}; locks and data hashed", came)
