"""Can the challenger's scores be relied on? Calibration, changed decisions, and behaviour that any model must show."""

import numpy as np

from ml.contract.framing import framing
from ml.contract.verdict import Check, overall
from ml.features.table import columns_of_frame, inputs
from ml.gate.case import Case
from ml.gate.performance import held, interval_of
from ml.models.behaviour import Behaviour
from ml.problem.behaviour import BEHAVIOURS
from ml.statistics.calibration import reliability, slope_by_day
from ml.statistics.inference import Ratio, between, of_days, ratio

QUESTION = "Can the probabilities be taken at their word?"
EQUAL = 1e-6
TRIED = 2000  # records on which behaviour is tried


def calibration(case: Case) -> Check:
    """Observed over predicted, and the slope of the recalibrated logit, lie within the framing's limits."""
    gate, rows, scores = framing().gate, case.recent.rows, case.recent.challenger
    measured: list[tuple[str, Ratio, tuple[float, float]]] = [
        ("observed over predicted", ratio(rows.outcomes, scores, rows.days), gate.calibration)
    ]
    if gate.slope and len(np.unique(scores)) > 1:  # one score for all has no slope
        shares, ones = slope_by_day(rows.outcomes, scores, rows.days)
        if not np.isfinite(shares).all():
            said = "the slope is not defined on these rows"
            return Check(name="calibration", question=QUESTION, answer="inconclusive", said=said)
        measured.append(("slope", of_days(shares, ones), gate.slope))
    intervals, answers = [], []
    for name, found, limits in measured:
        answer = between(found, *limits, gate.tail) if found.days >= gate.days else "inconclusive"
        answers.append(answer)
        nearer = min(limits, key=lambda limit: abs(np.log(limit / max(found.value, 1e-9))))
        intervals.append(interval_of(name, found, nearer, answer))
    said = "; ".join(
        f"{each.of} {each.value:.2f} ({each.low:.2f} to {each.high:.2f}), limits {limits[0]:g} and {limits[1]:g}"
        for each, (_, _, limits) in zip(intervals, measured, strict=True)
    )
    predicted, observed = reliability(rows.outcomes, scores)
    return Check(
        name="calibration",
        question=QUESTION,
        answer=overall(answers),
        said=said,
        intervals=intervals,
        evidence={"predicted": predicted.tolist(), "observed": observed.tolist()},
    )


def churn(case: Case) -> Check:
    """How many decisions change: people act on them, and every change has to be explained to somebody."""
    limit = framing().gate.churn
    before = case.recent.champion >= case.champion.threshold
    changed = ((case.recent.challenger >= case.challenger.threshold) != before).astype(np.float64)
    found = ratio(changed, np.ones(len(changed)), case.recent.rows.days)
    return held("churn", f"Do at most {limit:.0%} of the decisions change?", "share changed", found, limit)


def behaviour(case: Case) -> Check:
    """Invariance, direction, and an answer to whatever is missing or was never seen; golden cases were replayed."""
    rows = np.unique(np.linspace(0, len(case.recent.records) - 1, TRIED).astype(int))
    records = columns_of_frame(case.recent.records.iloc[rows])

    def scored(versions: tuple[object, ...]) -> list[np.ndarray]:
        return [case.challenger.scorer.score(inputs(version)) for version in versions]  # type: ignore[arg-type]

    found: dict[str, str] = {}
    for each in BEHAVIOURS:
        before, after = scored(each.versions(records))
        found[each.name] = "" if _holds(each, before, after) else f"{each.name}: {each.sentence}"
    given = inputs(records)
    for name, numbers, category in (
        ("all missing", np.full_like(given.numbers, np.nan), ""),
        ("never seen", given.numbers, "never seen"),
    ):
        strange = given._replace(numbers=numbers, categories=np.full_like(given.categories, category))
        scores = case.challenger.scorer.score(strange)
        answers = ((scores >= 0) & (scores <= 1)).all()
        found[name] = "" if answers else f"{name}: no probability for such a record"
    broken = [said for said in found.values() if said]
    golden = len(case.challenger.golden)
    return Check(
        name="behaviour",
        question="Does it do what any model of this problem must do?",
        answer="fail" if broken else "pass",
        said="; ".join(broken) or f"{len(found)} behaviours hold, {golden} golden records score as they must",
        evidence={name: not said for name, said in found.items()},
    )


def _holds(each: Behaviour, before: np.ndarray, after: np.ndarray) -> bool:
    if each.expects == "same":
        return bool(np.abs(after - before).max() <= EQUAL)
    return bool((after - before).mean() > 0)
