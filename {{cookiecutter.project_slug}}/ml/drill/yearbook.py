"""What a year came to: a row a stretch, and a closing sentence that says whether retraining earned anything."""

from collections.abc import Callable, Sequence

from ml.drill.living import Attempt, Lived
from ml.drill.sides import Compared, together
from ml.statistics.metrics import Estimate, digits

TITLE = "A season: loss, and cost per thousand decisions, of the champion / of the first model, never trained again"
HEAD = ("days", "champion", "alarms", "policy", "gate", "loss", "cost", "dearer by")


def cells(lived: Lived, told: Callable[[Estimate], str]) -> list[str]:
    """Return the row of a stretch, the champion's before the first model's; `told` says how much of their estimates."""
    found, same = lived.compared, lived.champion == lived.first
    sides = (found.champion,) if same else (found.champion, found.first)
    return [
        f"{lived.since:%m-%d} to {lived.until:%m-%d}",
        lived.champion[:8],
        " / ".join(alarming(each) for each in (lived.alarms, lived.first_alarms)[: len(sides)]),
        lived.decision.decision,
        gated(lived.attempt),
        *(" / ".join(told(side[metric]) for side in sides) for metric in ("log_loss", "cost")),
        "the same" if same else str(found.dearer),
    ]


def value(estimate: Estimate) -> str:
    """Return an estimate without its interval."""
    return digits(estimate.value)


def line(lived: Lived) -> str:
    """Return what happened at the end of a stretch, and why."""
    decision, made = lived.decision, lived.attempt
    window = " on {} to {}".format(*decision.window) if decision.window else ""
    said = [
        f"alarm: {alarming(lived.alarms)}" if lived.alarms else "quiet",
        f"{decision.decision}{window}: {', '.join(decision.reasons)}",
    ]
    said += [f"gate: {gated(made)} ({made.bundle[:8]})"] if made else []
    return f"{lived.since} to {lived.until}: {'; '.join(said)}"


def alarming(signals: Sequence[str]) -> str:
    """Return which signals alarm, in a word or two."""
    return ", ".join(signals) or "quiet"


def gated(attempt: Attempt | None) -> str:
    """Return what the gate said of the bundle that was trained, and what came of it."""
    if attempt is None:
        return ""
    return (
        f"{attempt.answer}, promoted" if attempt.answer == "pass" else f"{attempt.answer}: {', '.join(attempt.missed)}"
    )


def closing(year: Sequence[Lived], first: str) -> str:
    """Say what retraining earned on all days after the first promotion, and whether the monitor went quiet by it."""
    tried = [each.attempt for each in year if each.attempt]
    after = [each for each in year if each.champion != first]
    if not after:
        answers = ", ".join(each.answer for each in tried) or "none was tried"
        return f"No model was promoted in time to serve (gate: {answers}), so retraining changed nothing."
    found = together([each.sides for each in after]).compared()
    ours, theirs = (sum(bool(alarms) for alarms in each) for each in _alarms(after))
    return (
        f"After the first promotion, {after[0].since} to {after[-1].until}, a thousand decisions cost "
        f"{found.champion['cost']} instead of {found.first['cost']}: {found.dearer}, {earned(found)}. "
        f"Of {len(after)} stretches {ours} alarmed, and {theirs} would have with the first model; "
        f"trainings: {len(tried)}, promotions: {sum(each.answer == 'pass' for each in tried)}."
    )


def _alarms(after: Sequence[Lived]) -> tuple[list[Sequence[str]], list[Sequence[str]]]:
    return [each.alarms for each in after], [each.first_alarms for each in after]


def earned(found: Compared) -> str:
    """Say what the interval of the difference lets one say."""
    _, low, high = found.dearer
    if high is not None and high < 0:
        return "so retraining earned that much"
    if low is not None and low > 0:
        return "so retraining made it dearer"
    return "so it is not shown that retraining earned anything"


def page(year: Sequence[Lived], first: str) -> str:
    """Return all of it as Markdown: what was earned, a table with every interval, and why it was decided so."""
    rows = [HEAD, ["---"] * len(HEAD), *(cells(each, str) for each in year)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    reasons = "\n".join(f"- {line(each)}" for each in year)
    return f"# {TITLE}\n\n{closing(year, first)}\n\n{table}\n\nIntervals are 95 %, over days.\n\n{reasons}\n"
