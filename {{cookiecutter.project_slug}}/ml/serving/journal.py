"""Writes down what was answered, row by row, in the event log."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from ml.contract import events
from ml.eventlog.log import EventLog
from ml.eventlog.segments import Part
from ml.serving import counters
from ml.serving.answered import Answered, together
from ml.serving.challenger import Scores, Shed


class Journal:
    """What one process remembers of what it answered."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def answered(self, answered: Answered) -> None:
        """Write down what a turn answered."""
        self._log.append(events.PREDICTIONS, answered, answered.rows, _predictions)

    def shadow(self, answered: Answered, rows: NDArray[np.int64], scores: "Future[Scores]") -> None:
        """Write down what a shadow says of some rows of a turn, once it has."""
        plan, place, began = answered.plan, int(answered.arms[rows[0]]), time.perf_counter()
        told = {
            **{"request_id": answered.request_ids[rows], "time": answered.times[rows], "bundle": plan.bundles[place]},
            **{"champion": plan.champion.digest, "champion_score": answered.scores[rows], "plan": plan.name},
            **{"champion_decision": answered.decisions[rows], "champion_seconds": answered.seconds[rows]},
            **{name: values[rows] for name, values in _exposure(answered, answered.arms).items()},
        }

        def write(done: "Future[Scores]") -> None:
            """Runs in the challenger's thread, or here where it was shed."""
            error = _words(done.exception())
            counters.SHADOWS.labels(plan.arms[place], error or "scored").inc(len(rows))
            found = np.full(len(rows), np.nan) if error else done.result()
            said = {"score": found, "decision": found >= plan.thresholds[place], "error": error}
            self._log.append(events.SHADOWS, told | said | {"seconds": time.perf_counter() - began}, len(rows))

        scores.add_done_callback(write)


def _predictions(turns: Sequence[Answered]) -> Iterator[tuple[Part, int]]:
    """Yield what turns answered as parts of the log's table, with their numbers of rows; runs in the log's thread."""
    for all_of in together(turns):
        plan = all_of.plan
        told = {
            **{"request_id": all_of.request_ids, "time": all_of.times, "bundle": plan.bundles[all_of.said_by]},
            **{"score": all_of.scores, "decision": all_of.decisions, "seconds": all_of.seconds},
            **{"fallback": all_of.fallback, "plan": plan.name, "degraded": all_of.degraded, "stored": all_of.stored},
            **_exposure(all_of, np.zeros_like(all_of.arms) if plan.shadow else all_of.arms),
            **events.key_columns(all_of.key),
            **events.feature_columns(all_of.given),
        }
        yield told, all_of.rows


def _exposure(answered: Answered, arms: NDArray[np.int64]) -> dict[str, NDArray[np.object_]]:
    """Return who was in which experiment and arm: nobody outside of one, and no record without an entity."""
    experiments, named = np.empty((2, answered.rows), dtype=object)  # of None
    if answered.plan.experiment is not None:
        there = answered.entities != None  # noqa: E711 - elementwise
        experiments[there], named[there] = answered.plan.experiment.name, answered.plan.arms[arms[there]]
    return {"experiment": experiments, "arm": named, "entity": answered.entities}


def _words(error: BaseException | None) -> str:
    """Return how the log calls what became of a shadow's score."""
    return {type(None): "", Shed: "shed", TimeoutError: "timeout"}.get(type(error), "error")
