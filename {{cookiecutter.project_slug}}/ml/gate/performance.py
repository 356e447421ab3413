"""Is the challenger good enough? Paired losses on the same rows, with days as the unit of chance."""

from dataclasses import replace

import numpy as np

from ml.contract.framing import framing
from ml.contract.verdict import Check, Interval, overall
from ml.features.table import CATEGORIES, MISSING
from ml.gate.case import Case, Judged
from ml.pages.words import words
from ml.statistics.inference import Answer, Ratio, below, days_needed, holm, ratio


def primary(case: Case) -> Check:
    """Non-inferiority on the days that decide: the challenger loses less than the margin."""
    margin, metric = framing().gate.margin, words(framing().task.metric)
    question = f"Is the {metric} on the newest days at most {margin:g} worse than the champion's?"
    return _against("primary", question, case.recent, margin)


def better(case: Case) -> Check:
    """Superiority, where it is claimed: a model that is just as good is refused."""
    question = f"Is the {words(framing().task.metric)} on the newest days better, as claimed?"
    return _against("better", question, case.recent, 0.0)


def baseline(case: Case) -> Check:
    """Superiority over the simplest rung of its own ladder, below which successive small losses could lead."""
    question = "Is it better than the simplest rung of its own ladder?"
    if case.simplest is None:
        said = "it is the simplest rung, or does not say which that is"
        return Check(name="baseline", question=question, answer="fail", said=said)
    against_it = replace(case.recent, champion=case.simplest)
    return _against("baseline", question, against_it, 0.0, "challenger minus simplest rung")


def frozen(case: Case) -> Check:
    """Non-inferiority on the frozen test set, by its own, wider margin."""
    margin = framing().frozen.margin
    return _against("frozen", f"Does the frozen test set show no regression beyond {margin:g}?", case.frozen, margin)


def _against(name: str, question: str, judged: Judged, limit: float, of: str = "challenger minus champion") -> Check:
    found = ratio(judged.difference, np.ones(len(judged.difference)), judged.rows.days)
    return held(name, question, of, found, limit)


def held(name: str, question: str, of: str, found: Ratio, limit: float) -> Check:
    """Return the check that a ratio lies below a limit, with the days that would decide where it is open."""
    gate = framing().gate
    answer: Answer = below(found, limit, gate.tail) if found.days >= gate.days else "inconclusive"
    interval = interval_of(of, found, limit, answer)
    said = f"{of} {found.value:+.4f} ({interval.low:+.4f} to {interval.high:+.4f}), limit {limit:g}"
    needed = None
    if answer == "inconclusive":
        needed = days_needed(found.spread, limit - found.value, gate.tail, gate.power)
        needed = None if needed is None else max(needed, gate.days)
        said += (
            f"; about {needed} labelled days would decide, these are {found.days}"
            if needed
            else "; as far from the limit as it looks, no number of days would let it pass"
        )
    return Check(name=name, question=question, answer=answer, said=said, intervals=[interval], days_needed=needed)


def interval_of(of: str, found: Ratio, limit: float, answer: Answer) -> Interval:
    """Return what was measured as the verdict records it."""
    tail = framing().gate.tail
    return Interval(of=of, value=found.value, low=found.low(tail), high=found.high(tail), limit=limit, answer=answer)


def slices(case: Case) -> Check:
    """No slice may hide behind the average: each passes alone, and fails where Holm's correction leaves no doubt.

    All slices have to pass, so a pass needs no correction; that one of many looks bad by chance does.
    """
    asked, gate = framing().slices, framing().gate
    question = f"Is every slice at most {asked.margin:g} worse?"
    found = dict(supported(case.recent))
    p_values = holm([each.p_over(asked.margin) for each in found.values()])
    intervals, needed = [], []
    for (name, each), p_value in zip(found.items(), p_values, strict=True):
        answer = below(each, asked.margin, gate.tail)
        if answer == "fail" and p_value > gate.tail:
            answer = "inconclusive"
        if each.days < gate.days:
            answer = "inconclusive"
        if answer == "inconclusive":
            days = days_needed(each.spread, asked.margin - each.value, gate.tail, gate.power)
            needed.append(days and max(days, gate.days))
        intervals.append(interval_of(name, each, asked.margin, answer))
    if asked.features and not intervals:
        return Check(
            name="slices", question=question, answer="inconclusive", said="no slice has enough rows and positives"
        )
    answers = [each.answer for each in intervals]
    worst = max(intervals, key=lambda each: each.high, default=None)
    return Check(
        name="slices",
        question=question,
        answer=overall(answers),
        said="no slice has enough rows"
        if worst is None
        else f"{len(found)} slices with enough rows; {answers.count('fail')} worse, "
        f"{answers.count('inconclusive')} open; the widest is {worst.of}, up to {worst.high:+.4f}",
        intervals=intervals,
        evidence={"holm": dict(zip(found, p_values, strict=True))},
        days_needed=max(each for each in needed if each) if needed and all(needed) else None,
    )


def supported(judged: Judged) -> list[tuple[str, Ratio]]:
    """Return the loss differences of every slice with enough rows and positives."""
    asked, names, found = framing().slices, [feature.name for feature in CATEGORIES], []
    for feature in asked.features:
        values = judged.rows.inputs.categories[:, names.index(feature)]
        for value in sorted(set(values.tolist()) - {MISSING}):
            rows = values == value
            outcomes, days = judged.rows.outcomes[rows], judged.rows.days[rows]
            if len(outcomes) >= asked.rows and outcomes.sum() >= asked.positives and len(np.unique(days)) > 1:
                found.append((f"{feature} {value}", ratio(judged.difference[rows], np.ones(len(outcomes)), days)))
    return found
