"""Writes down what was answered, row by row, in the event log."""

import time
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from ml.contract import events
from ml.eventlog.log import EventLog
from ml.serving import counters
from ml.serving.challenger import Scores, Shed
from ml.serving.turn import Turn
from ml.settings import settings


class Journal:
    """What one process remembers of what it answered."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._environment = settings().release.environment

    def answered(self, turn: Turn) -> list[str]:
        """Write down a turn's answers, and return the ids that they got."""
        ids, plan = events.new_request_ids(self._environment, len(turn)), turn.plan
        self._log.append(
            events.PREDICTIONS,
            {
                **{"request_id": ids, "time": turn.now, "bundle": plan.bundles[turn.said_by], "score": turn.scores},
                **{"decision": turn.decisions, "seconds": turn.seconds, "fallback": turn.fallback, "plan": plan.name},
                **{"degraded": turn.degraded, "stored": turn.stored},
                **_exposure(turn, turn.arms if not plan.shadow else np.zeros_like(turn.arms)),
                **events.key_columns(turn.columns),
                **events.feature_columns(turn.given),
            },
            len(turn),
        )
        return ids

    def shadow(self, turn: Turn, ids: list[str], rows: NDArray[np.int64], scores: "Future[Scores]") -> None:
        """Write down what a shadow says of some rows of a turn, once it has."""
        plan, place, began = turn.plan, int(turn.arms[rows[0]]), time.perf_counter()
        told = {
            **{"request_id": np.array(ids, dtype=object)[rows], "time": turn.now, "bundle": plan.bundles[place]},
            **{"champion": plan.champion.digest, "champion_score": turn.scores[rows], "plan": plan.name},
            **{"champion_decision": turn.decisions[rows], "champion_seconds": turn.seconds[rows]},
            **{name: values[rows] for name, values in _exposure(turn, turn.arms).items()},
        }

        def write(done: "Future[Scores]") -> None:
            """Runs in the challenger's thread, or here where it was shed."""
            error = _words(done.exception())
            counters.SHADOWS.labels(plan.arms[place], error or "scored").inc(len(rows))
            found = np.full(len(rows), np.nan) if error else done.result()
            said = {"score": found, "decision": found >= plan.thresholds[place], "error": error}
            self._log.append(events.SHADOWS, told | said | {"seconds": time.perf_counter() - began}, len(rows))

        scores.add_done_callback(write)


def _exposure(turn: Turn, arms: NDArray[np.int64]) -> dict[str, NDArray[np.object_]]:
    """Return who was in which experiment and arm: nobody outside of one, and no record without an entity."""
    experiments, named = np.empty((2, len(turn)), dtype=object)  # of None
    if turn.plan.experiment is not None:
        there = turn.entities != None  # noqa: E711 - elementwise
        experiments[there], named[there] = turn.plan.experiment.name, turn.plan.arms[arms[there]]
    return {"experiment": experiments, "arm": named, "entity": turn.entities}


def _words(error: BaseException | None) -> str:
    """Return how the log calls what became of a shadow's score."""
    return {type(None): "", Shed: "shed", TimeoutError: "timeout"}.get(type(error), "error")
