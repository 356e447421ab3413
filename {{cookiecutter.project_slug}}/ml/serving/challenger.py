"""A challenger at work: in a thread of its own, behind a bounded queue, so that it can never hold up the champion.

One that hangs, fails or is slow loses its own requests and no others: each waits for `patience` seconds at most, and
after some failures in a row none is sent for a while (a circuit breaker, Nygard, Release It!).
"""

import os
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.features.table import Inputs

Scores = NDArray[np.float64]

ROOM = 20_000  # records that may wait
FAILURES = 5  # in a row, after which it is left alone
PAUSE = 10.0  # seconds for which it is
LESS = 10  # by how much a shadow's thread is nicer than the champion's


class Model(Protocol):
    """What scores: a bundle in this process, or a service elsewhere."""

    def score(self, given: Inputs, records: Sequence[Any]) -> Scores:
        """Return the probability of the positive class of each record, [n], in 0..1."""


class Shed(Exception):
    """There was no time for it: the queue is full, or the breaker open."""


@dataclass
class _Task:
    given: Inputs
    records: Sequence[Any]
    future: "Future[Scores]" = field(default_factory=Future)
    asked: float = field(default_factory=time.monotonic)


class Challenger:
    """One challenger and its thread."""

    def __init__(self, model: Model, patience: float, shadow: bool) -> None:
        self._model, self._patience, self._shadow = model, patience, shadow
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._lock, self._waiting = threading.Lock(), 0
        self._running: _Task | None = None
        self._began = 0.0
        self._failures, self._again = 0, 0.0
        threading.Thread(
            target=self._work, name="challenger", daemon=True
        ).start()  # ends with the process, hung or not

    def ask(self, given: Inputs, records: Sequence[Any]) -> "Future[Scores]":
        """Return scores to come, [n], or TimeoutError, Shed, or what the model raised."""
        task, running = _Task(given, records), self._running
        hangs = running is not None and task.asked - self._began > self._patience
        if running is not None and hangs:
            self._give_up(running)
        if hangs or task.asked < self._again or not self._room(len(records)):
            task.future.set_exception(Shed())
        else:
            self._tasks.put(task)
        return task.future

    def close(self) -> None:
        """Let the thread end once it has nothing to do."""
        self._tasks.put(None)

    def _room(self, records: int) -> bool:
        """Take room for records, or free it; says whether there was room."""
        with self._lock:
            fits = self._waiting + records <= ROOM
            self._waiting += records if fits else 0
        return fits

    def _give_up(self, running: _Task) -> None:
        """Fail what hangs, and let go of what waits behind it: until it returns, nobody else would say so."""
        self._fail(running, TimeoutError())
        with suppress(queue.Empty):
            while (behind := self._tasks.get_nowait()) is not None:
                self._room(-len(behind.records))
                with suppress(InvalidStateError):
                    behind.future.set_exception(Shed())

    def _work(self) -> None:
        if self._shadow:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LESS)  # Linux: of this thread alone
        while (task := self._tasks.get()) is not None:
            self._room(-len(task.records))
            if time.monotonic() - task.asked > self._patience:
                self._fail(task, TimeoutError())
                continue
            self._began, self._running = time.monotonic(), task
            try:
                scores = self._model.score(task.given, task.records)
                if time.monotonic() - task.asked > self._patience:
                    raise TimeoutError
                if scores.shape != (len(task.records),) or not ((scores >= 0) & (scores <= 1)).all():
                    raise ValueError("these are no probabilities")
            except Exception as error:
                self._fail(task, error)
            else:
                with suppress(InvalidStateError):  # it was given up
                    task.future.set_result(scores)
                    self._failures = 0
            finally:
                self._running = None

    def _fail(self, task: _Task, error: Exception) -> None:
        with suppress(InvalidStateError):  # it was given up, and counted
            task.future.set_exception(error)
            self._failures += 1
            if self._failures >= FAILURES:
                self._again = time.monotonic() + PAUSE
