"""Whether to train again: a pure decision from what is known, what was tried before, and the framing's limits.

Days are the problem's, those of the monitor's verdicts: a replay lives months in minutes, and its pauses are as long as
in life. In wall time both are the same, but for the days that outcomes take. Where no new day matures, no pause ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from ml.contract.framing import Retraining
from ml.statistics.inference import Answer

Came = Answer | Literal["running", "nothing"]  # what the gate said, or why it has not
REJECTED: tuple[Came, ...] = ("fail", "inconclusive", "nothing")  # whatever may not go on has not helped
WEEK = 7


@dataclass(frozen=True)
class Evidence:
    """What is known of the champion.

    `day` is the last that the monitor has judged, `alarms` names the signals that alarm on outcomes, `drifted` the
    inputs that have moved, and `worse` says that the loss estimated from them is. `trained_until` is the newest day
    that the champion was fitted or tested on, `new_labels` how many rows of later days have an outcome. `serving` says
    whether it is the champion still: what is known of an earlier one asks for nothing.
    """

    day: date
    alarms: Sequence[str]
    drifted: Sequence[str]
    worse: bool
    trained_until: date
    new_labels: int
    serving: bool = True


@dataclass(frozen=True)
class Act:
    """What was done before: a training or a stop, on the day of its verdict, and what the training came to."""

    decision: Literal["train", "stop"]
    day: date
    came: Came = "running"
    forced: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do and why.

    `window` is what to train on, first and last day; `rejections` are the attempts in a row that came to no good.
    """

    decision: Literal["train", "wait", "stop"]
    reasons: list[str]
    rejections: int = 0
    window: tuple[date, date] | None = None


def decide(known: Evidence, history: Sequence[Act], policy: Retraining) -> Decision:
    """Say whether to train; `history` begins with the oldest. Who is stopped goes on only by what somebody forces."""
    rejected, asks = rejections(history), asked(known, policy)
    if history and history[-1].decision == "stop":
        return Decision("stop", [f"stopped on {history[-1].day}, until somebody says `ml retrain --force`"], rejected)
    if not known.serving:
        return Decision("wait", ["the last verdict is of a bundle that is no longer the champion"], rejected)
    if not asks:
        return Decision("wait", ["the last verdict asks for nothing"], rejected)
    if history and history[-1].came == "running":
        return Decision("wait", [f"the attempt of {history[-1].day} has no verdict yet", *_although(asks)], rejected)
    if rejected >= policy.rejections:
        broken = f"the last {rejected} attempts in a row came to no model that may go on"
        return Decision("stop", [f"{broken}: look why, then say `ml retrain --force`", *asks], rejected)
    if waits := held(known, history, policy):
        return Decision("wait", [*waits, *_although(asks)], rejected)
    return Decision("train", asks, rejected, window(known.day, policy))


def force(day: date, policy: Retraining) -> Decision:
    """Return what somebody forces: a training, whatever asks for it or speaks against it; rejections count anew."""
    return Decision("train", ["somebody asked for it"], window=window(day, policy))


def asked(known: Evidence, policy: Retraining) -> list[str]:
    """Return what asks for a training: outcomes, or inputs that moved and hurt, or the champion's age."""
    asks, age = [], (known.day - known.trained_until).days
    if known.alarms:
        verb = "alarms" if len(known.alarms) == 1 else "alarm"
        asks.append(f"{' and '.join(known.alarms)} of what was served {verb}")
    if known.drifted and known.worse:
        asks.append(f"{len(known.drifted)} variables drifted and the loss is estimated to be worse")
    if age > policy.max_age_days:
        asks.append(f"the champion is {age} days old, retraining.max_age_days says {policy.max_age_days}")
    return asks


def _although(asks: Sequence[str]) -> list[str]:
    return [f"although {each}" for each in asks]


def held(known: Evidence, history: Sequence[Act], policy: Retraining) -> list[str]:
    """Return what holds a training back: it is too soon after the last, too often, or on too little that is new.

    Days count both ways, so that whoever looks at earlier days gets around no limit.
    """
    waits, apart = [], [abs((known.day - act.day).days) for act in history if act.decision == "train"]
    if apart and min(apart) < policy.pause_days:
        waits.append(f"{min(apart)} days after the last attempt, retraining.pause_days says {policy.pause_days}")
    if (recent := sum(days < WEEK for days in apart)) >= policy.per_week:
        waits.append(f"{recent} attempts within seven days, retraining.per_week says {policy.per_week}")
    if known.new_labels < policy.new_labels:
        told = f"{known.new_labels:,} labels since the champion's last day"
        waits.append(f"{told}, retraining.new_labels says {policy.new_labels:,}")
    return waits


def rejections(history: Sequence[Act]) -> int:
    """Return how many attempts in a row came to no good, up to the last; what somebody forced begins the count anew."""
    count = 0
    for act in reversed(history):
        if act.came == "pass":
            break
        count += act.decision == "train" and act.came in REJECTED
        if act.forced:
            break
    return count


def window(day: date, policy: Retraining) -> tuple[date, date]:
    """Return the first and last day to train on: the newest days up to the one that was judged."""
    return day - timedelta(days=policy.window_days - 1), day
