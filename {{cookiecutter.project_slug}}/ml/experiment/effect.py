"""What an arm changes: the business metric that decides, and the guardrails that must hold beside it."""

from ml.contract.framing import framing
from ml.contract.release import CHAMPION, Mode
from ml.contract.verdict import Check
from ml.experiment.checks import fine, held, once_positive, share, signed
from ml.experiment.served import Served
from ml.experiment.verdict import Point
from ml.pages.words import percent, words
from ml.statistics.anytime import Anytime
from ml.statistics.clusters import Effect, TooFewError, difference

QUESTIONS: dict[Mode, str] = {
    "canary": "Does it cost at most {margin:g} more per thousand decisions than the champion?",
    "ab": "Does it cost less per thousand decisions than the champion?",
    "holdout": "Does the champion cost less per thousand decisions than what is held out?",
}
RATE = 0.01  # of answers may be slower than a budget for the 99th percentile


def primary(found: Served, arm: str, mode: Mode) -> Check:
    """The claim, in cost per thousand decisions."""
    margin, limit = framing().experiment.margin, framing().experiment.margin if mode == "canary" else 0.0
    of = "cost, champion minus holdout" if mode == "holdout" else "cost, challenger minus champion"
    effect = adjusted(found, "cost", _pair(arm, mode))
    check = held("primary", QUESTIONS[mode].format(margin=margin), of, effect, limit, margin, signed)
    one, other = _pair(arm, mode)
    return _told(found, arm, check, effect, difference(found.sums(one, "cost"), found.sums(other, "cost")))


def metric(found: Served, arm: str) -> Check:
    """Guardrail: the metric that models are compared by may lose what the gate lets pass."""
    margin, name = framing().gate.margin, words(framing().task.metric)
    effect = adjusted(found, "loss", (arm, CHAMPION))
    question = f"Is the {name} at most {margin:g} worse than the champion's?"
    check = held("metric", question, f"{name}, challenger minus champion", effect, margin, margin, fine)
    return _told(found, arm, check, effect, difference(found.sums(arm, "loss"), found.sums(CHAMPION, "loss")))


def adjusted(found: Served, column: str, pair: tuple[str, str], until: str | None = None) -> Effect:
    """Return one arm's measure minus another's, without the part that is chance by what no arm can have changed."""
    one, other = (found.sums(arm, column, until) for arm in pair)
    covariates = zip(*(found.covariates(arm, column, until) for arm in pair), strict=True)
    return difference(one, other, list(covariates))


def _pair(arm: str, mode: Mode) -> tuple[str, str]:
    return (CHAMPION, arm) if mode == "holdout" else (arm, CHAMPION)


def _told(found: Served, arm: str, check: Check, effect: Effect, plain: Effect) -> Check:
    """Return the check that also tells what the adjustment did; open while either arm has met few positives."""
    said = f"{check.said}. The entities' past and the outcomes explain {percent(effect.reduction)} of the variance"
    evidence = {"variance_reduction": effect.reduction, "value_unadjusted": plain.value, "error": effect.error}
    met = min(found.positives(side) for side in (arm, CHAMPION))
    return once_positive(check.model_copy(update={"said": said, "evidence": evidence}), met)


def sequence(found: Served, arm: str, mode: Mode) -> list[Point]:
    """Return the primary estimate as it was after each day on which both arms had two labelled entities."""
    asked, points = framing().experiment, []
    for day in sorted(found.rows.day[found.rows.cost.notna()].unique()):
        try:
            effect = adjusted(found, "cost", _pair(arm, mode), day)
        except TooFewError:
            continue
        bounds = Anytime(effect.value, effect.error, asked.margin)
        points.append(Point(day=day, value=effect.value, low=bounds.low(asked.tail), high=bounds.high(asked.tail)))
    return points


def latency(found: Served, arm: str) -> Check:
    """Guardrail: hardly more of its answers than of the champion's are over the budget."""
    effect = difference(found.sums(arm, "slow"), found.sums(CHAMPION, "slow"))
    question = f"Do at most {percent(RATE)} more of its answers than of the champion's exceed the budget?"
    of = f"share slower than {framing().budget.latency_p99_ms:g} ms, challenger minus champion"
    return held("latency", question, of, effect, RATE, RATE, share)


def fallbacks(found: Served, arm: str) -> Check:
    """Guardrail: it seldom fails, so that something else has to answer."""
    limit = framing().experiment.errors
    effect = difference(found.sums(arm, "fallback_used"), found.sums(CHAMPION, "fallback_used"), share=True)
    question = f"Does it fail on fewer than {percent(limit)} more of the requests than the champion?"
    of = "share that something else answered, challenger minus champion"
    return held("fallbacks", question, of, effect, limit, limit, share)


GUARDRAILS = (metric, latency, fallbacks)
