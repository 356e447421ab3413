"""People who ask a service all the time, whatever is deployed meanwhile, and remember what came back."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx


@contextmanager
def asked(url: str, bodies: Sequence[Any], pause: float = 0.02) -> Iterator[list[object]]:
    """Ask all the time, over one connection that is kept and over one for each request; yields what came back.

    What is asked are the bodies in turn, each a record or some: who asks the same all day is no sample of anything.
    """
    stop, came = threading.Event(), list[object]()

    def ask(headers: dict[str, str]) -> None:
        with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            for body in itertools.cycle(bodies):
                if stop.wait(pause):
                    break
                try:
                    came.append(client.post("/predict", json=body).status_code)
                except httpx.HTTPError as error:
                    came.append(repr(error))

    asking = [threading.Thread(target=ask, args=({"connection": how},)) for how in ("keep-alive", "close")]
    for each in asking:
        each.start()
    try:
        yield came
    finally:
        stop.set()
        for each in asking:
            each.join()
