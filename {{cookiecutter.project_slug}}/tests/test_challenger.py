"""A challenger that hangs, fails or is slow: it loses its own requests, says how, and nobody else waits for it."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import numpy as np
import pytest

from ml.features.table import Inputs
from ml.serving import challenger
from ml.serving.challenger import FAILURES, ROOM, Challenger, Shed

ONE = Inputs(np.zeros((1, 1), np.float32), np.zeros((1, 1), object))
PATIENCE = 0.2


class Model:
    """Scores as it is told to, and remembers how often it was asked."""

    def __init__(self, score: Callable[[], float]) -> None:
        self._score, self.asked = score, 0

    def score(self, given: Inputs, records: list) -> np.ndarray:
        self.asked += 1
        return np.full(len(records), self._score())


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a model hangs at until it is set."""
    event = threading.Event()
    yield event
    event.set()


def broken() -> float:
    raise RuntimeError("no")


def end(future: "Future") -> type | None:
    return type(future.exception(5)) if future.exception(5) else None


def test_scores_come_back_to_who_asked() -> None:
    scores = iter([0.25, 0.5])
    one = Challenger(Model(lambda: next(scores)), PATIENCE, shadow=True)
    assert [one.ask(ONE, [0, 0]).result(5).tolist(), one.ask(ONE, [0]).result(5).tolist()] == [[0.25, 0.25], [0.5]]
    one.close()


def test_one_that_hangs_is_given_up_with_all_that_waits_and_asked_again_once_it_has_returned(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(challenger, "PAUSE", 0.1)
    model = Model(lambda: 0.5 if gate.wait() else 0.0)
    one = Challenger(model, PATIENCE, shadow=True)
    first, behind = one.ask(ONE, [0]), one.ask(ONE, [0])
    time.sleep(PATIENCE * 1.5)
    assert end(one.ask(ONE, [0])) is Shed
    assert (end(first), end(behind)) == (TimeoutError, Shed)
    assert [end(one.ask(ONE, [0])) for _ in range(3)] == [Shed] * 3
    assert model.asked == 1, "nothing more is sent into a hanging one"
    gate.set()
    time.sleep(0.2)
    assert one.ask(ONE, [0]).result(5).tolist() == [0.5]


def test_after_failures_in_a_row_it_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenger, "PAUSE", 0.3)
    model = Model(broken)
    one = Challenger(model, PATIENCE, shadow=False)
    assert [end(one.ask(ONE, [0])) for _ in range(FAILURES)] == [RuntimeError] * FAILURES
    assert end(one.ask(ONE, [0])) is Shed
    assert model.asked == FAILURES
    time.sleep(0.4)
    model._score = lambda: 0.5
    assert end(one.ask(ONE, [0])) is None
    model._score = broken
    assert [end(one.ask(ONE, [0])) for _ in range(2)] == [RuntimeError] * 2, "a success ends the row"


def test_one_that_is_always_too_slow_is_left_alone_too() -> None:
    model = Model(lambda: time.sleep(2 * PATIENCE) or 0.5)
    one = Challenger(model, PATIENCE, shadow=False)
    for _ in range(FAILURES):
        assert end(one.ask(ONE, [0])) is TimeoutError
    assert end(one.ask(ONE, [0])) is Shed
    assert model.asked == FAILURES


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.1, np.inf])
def test_what_is_no_probability_is_a_failure(wrong: float) -> None:
    assert end(Challenger(Model(lambda: wrong), PATIENCE, shadow=False).ask(ONE, [0])) is ValueError


def test_no_more_waits_than_there_is_room_for(gate: threading.Event) -> None:
    one = Challenger(Model(lambda: 0.5 if gate.wait() else 0.0), 60, shadow=True)
    assert not one.ask(ONE, [0]).done()
    time.sleep(0.1)  # it is being scored
    assert not one.ask(ONE, [0] * ROOM).done()
    assert end(one.ask(ONE, [0])) is Shed
