"""A year as a model lives it: served, watched, trained again where the policy says so, replaced where the gate lets it.

What it takes from the world is handed in, so that tests can live a year in a moment.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.contract.framing import Retraining
from ml.drill.served import Served, as_known, served
from ml.drill.sides import Compared, Sides
from ml.features.rows import Rows
from ml.features.table import Inputs
from ml.monitoring.observations import Observations
from ml.monitoring.policy import Act, Decision, Evidence, decide
from ml.statistics.inference import Answer


class Attempt(NamedTuple):
    """A bundle that was trained, what the gate said of it, and the names of the checks that it did not pass."""

    bundle: str
    answer: Answer
    missed: Sequence[str]


@dataclass(frozen=True)
class World:
    """What a year asks of the rest of the project; models go by their digests.

    `watch` is asked with what a model has served since it is champion and the days of all labelled rows, [n], and says
    what the monitor knows, or None where too few outcomes are known; `alarms` names a model's signals that alarm.
    """

    read: Callable[[date, date], Rows]
    score: Callable[[str, Inputs], NDArray[np.float64]]
    watch: Callable[[str, Served, NDArray[np.str_]], Evidence | None]
    alarms: Callable[[str, Observations], Sequence[str]]
    train: Callable[[date, date], Attempt]
    promote: Callable[[str], None]


@dataclass(frozen=True)
class Lived:
    """A stretch of days: who was champion, how it and the first model did, and what was done about it at the end."""

    since: date
    until: date
    champion: str
    first: str
    sides: Sides
    alarms: Sequence[str]
    first_alarms: Sequence[str]
    decision: Decision
    attempt: Attempt | None

    @cached_property
    def compared(self) -> Compared:
        """How the two did on the stretch's rows."""
        return self.sides.compared()


def live(first: str, days: Iterable[tuple[date, date]], world: World, policy: Retraining) -> Iterator[Lived]:
    """Yield the stretches one by one; the first model goes on beside its successors, and nobody trains it again."""
    champion, history = first, list[Act]()
    since_promoted, beside = list[Served](), list[Served]()
    for since, until in days:
        rows = world.read(since, until)
        scores, first_scores = (world.score(each, rows.inputs) for each in (champion, first))
        since_promoted.append(served(rows, scores))
        beside.append(served(rows, first_scores))
        by_first = as_known(beside, until).said
        known = world.watch(champion, as_known(since_promoted, until), by_first.days[by_first.matured])
        decision = decide(known, history, policy) if known else Decision("wait", ["too few outcomes are known"])
        attempt = world.train(*decision.window) if decision.window else None
        alarms, first_alarms = known.alarms if known else [], world.alarms(first, by_first)
        sides = Sides(rows.outcomes, rows.days, scores, first_scores)
        yield Lived(since, until, champion, first, sides, alarms, first_alarms, decision, attempt)
        if known and (act := _acted(decision, attempt, known.day, history)):
            history.append(act)
        if attempt and attempt.answer == "pass":
            world.promote(attempt.bundle)
            champion = attempt.bundle
            since_promoted.clear()


def _acted(decision: Decision, attempt: Attempt | None, day: date, history: Sequence[Act]) -> Act | None:
    """Return what the policy has to remember of a decision: a training, or a stop unless it is stopped already."""
    if attempt:
        return Act("train", day, attempt.answer)
    stopped = bool(history) and history[-1].decision == "stop"
    return Act("stop", day, "nothing") if decision.decision == "stop" and not stopped else None
