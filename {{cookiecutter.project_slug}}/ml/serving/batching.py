"""Tick batching: requests that a turn of the event loop brings are scored by one call of the model.

Nobody waits for a clock. A turn ends as soon as one pass of the loop has brought nothing more: who comes alone is
scored at once, and under load each pays a fraction of what features, graph and log cost one request alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

MOST = 64  # requests in a turn, so that it ends
BULK = 500  # records in a request that gains nothing from others


class Request(NamedTuple):
    """Some records, when they came (seconds of `time.perf_counter`), and their answers to be, one a record."""

    records: Sequence[Any]
    came: float
    answers: "asyncio.Future[list[str]]"


class Batching:
    """Gathers the requests of a turn and hands them to `serve`."""

    def __init__(self, serve: Callable[[list[Request]], None]) -> None:
        self._serve = serve
        self._gathered: list[Request] = []

    def submit(self, records: Sequence[Any], came: float) -> Awaitable[list[str]]:
        """Return the answers to come."""
        loop = asyncio.get_running_loop()
        request = Request(records, came, loop.create_future())
        if len(records) >= BULK:
            self._serve_all([request])  # it is a turn of its own
            return request.answers
        if not self._gathered:
            loop.call_soon(self._end_turn, 0)
        self._gathered.append(request)
        return request.answers

    def _end_turn(self, before: int) -> None:
        """Score what was gathered, unless this pass has brought more than there was before: then look again."""
        if before < len(self._gathered) < MOST:
            asyncio.get_running_loop().call_soon(self._end_turn, len(self._gathered))
            return
        gathered, self._gathered = self._gathered, []
        self._serve_all(gathered)

    def _serve_all(self, requests: list[Request]) -> None:
        """Serve requests; where one of them breaks the turn, each alone."""
        try:
            self._serve(requests)
        except Exception as error:
            if len(requests) == 1:
                fail(requests, error)
                return
            for request in requests:
                if not request.answers.done():
                    self._serve_all([request])


def fail(requests: Iterable[Request], error: BaseException | None) -> None:
    """Let requests that have no answer yet raise an error, if there is one."""
    for request in requests:
        if error and not request.answers.done():
            request.answers.set_exception(error)


def give(requests: Iterable[Request], answers: Sequence[str]) -> None:
    """Give each request its own of the answers, which are in the requests' order."""
    begin = 0
    for request in requests:
        end = begin + len(request.records)
        if not request.answers.done():  # else the client went away
            request.answers.set_result(list(answers[begin:end]))
        begin = end
