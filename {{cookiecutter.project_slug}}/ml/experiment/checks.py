"""How a question is answered: an estimate over entities, bounded at all looks at once, against a limit."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ml.contract.framing import framing
from ml.contract.verdict import Check, Interval
from ml.statistics.anytime import Anytime, radius
from ml.statistics.clusters import Effect, TooFewError
from ml.statistics.inference import below

Show = Callable[[float], str]


def signed(value: float) -> str:
    """Return a cost as people read it: whole, with its sign."""
    return f"{value:+,.0f}" if round(value) else "0"


def fine(value: float) -> str:
    """Return a difference of losses, with its sign."""
    return f"{value:+.4f}"


def share(value: float) -> str:
    """Return a share in per cent."""
    return f"{100 * value:.2f} %"


def portion(value: float) -> str:
    """Return a share that cannot be negative, in per cent; a bound may lie beyond what can be."""
    return share(max(value, 0.0))


def held(name: str, question: str, of: str, found: Effect, limit: float, reach: float, show: Show) -> Check:
    """Return the check that an estimate is below a limit; open where an arm has too few entities.

    `reach` is how finely the question is asked, in the estimate's unit: its bounds are narrowest when so wide.
    """
    asked = framing().experiment
    bounds = Anytime(found.value, found.error, reach)
    low, high = bounds.low(asked.tail), bounds.high(asked.tail)
    few = found.entities < asked.entities
    answer = "inconclusive" if few else below(bounds, limit, asked.tail)
    said = f"{of}: {show(found.value)}, between {show(low)} and {show(high)}; it has to be below {show(limit)}"
    if few:
        said += f". Too early: {found.entities} entities, experiment.entities asks for {asked.entities}"
    elif answer == "inconclusive":
        said += f". Still open: {more(found, limit, reach)}"
    interval = Interval(of=of, value=found.value, low=low, high=high, limit=limit, answer=answer)
    return Check(name=name, question=question, answer=answer, said=said, intervals=[interval])


def once_positive(check: Check, positives: int) -> Check:
    """Return a check of cost or loss, open while an arm has met few positives: they are what both are made of."""
    needed = framing().slices.positives
    if positives >= needed:
        return check
    said = f"{check.said}. Too early: {positives} positives, slices.positives asks for {needed}"
    intervals = [each.model_copy(update={"answer": "inconclusive"}) for each in check.intervals]
    return check.model_copy(update={"answer": "inconclusive", "said": said, "intervals": intervals})


def asked(check: Callable[..., Check], *of: Any) -> Check:
    """Return the check, or that it is too early for it."""
    try:
        return check(*of)
    except TooFewError:
        said = "too early: fewer than two entities of an arm have what it asks for"
        return Check(name=check.__name__, question=str(check.__doc__), answer="inconclusive", said=said)


def more(found: Effect, limit: float, reach: float) -> str:
    """Say how many times as much data would decide, if it went on as it looks."""
    distance, alpha = abs(limit - found.value), framing().experiment.alpha
    for times in np.geomspace(1, 64, 49):
        if radius(found.error / float(np.sqrt(times)), reach, alpha) < distance:
            return f"about {times:.1f} times as much data would decide, if it stays as it looks"
    return "too close to the limit to be decided soon"


def fact(name: str, question: str, broken: str | None, fine: str, **evidence: int) -> Check:
    """Return the check of a plain fact: it fails with what is broken, or passes saying what is fine."""
    return Check(
        name=name, question=question, answer="fail" if broken else "pass", said=broken or fine, evidence=dict(evidence)
    )
