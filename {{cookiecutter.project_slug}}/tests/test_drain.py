"""A rolling update loses nothing: two services behind a balancer are replaced one by one under load."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, copy_of_bundle

from ml import processes
from ml.problem.schema import EXAMPLE
from ml.serving.server import free_port

RATE, LOOK = 60, 0.25  # requests a second; seconds between two looks of the balancer at /readyz
DRAIN = 5.0  # seconds: many looks, for a service that starts beside others takes both processors for a second or two


class Pod:
    """`ml serve`, as a platform starts it, tells it to end, and starts it anew."""

    def __init__(self, store: Path, bundle: str, drain: float) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        own = store / self.url[-5:]
        self._variables = {"ML_STORE_URL": str(store), "ML_RELEASE_BUNDLE": bundle, "BENTOML_HOME": str(own)}
        self._variables |= {"ML_SERVE_DRAIN_SECONDS": str(drain), "ML_SERVE_OUTCOMES_PORT": str(free_port())}
        self._log = (store / f"{self.url[-5:]}.log").open("wb")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "ml", "serve", "--port", self.url.rpartition(":")[2]]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | self._variables, stdout=self._log, stderr=self._log
        )

    def end(self) -> None:
        processes.end(self.process.pid)
        self.process.wait()
        self._log.close()


class Balancer:
    """Sends each request to the next service that was ready when it last looked, over connections that it keeps."""

    def __init__(self, pods: list[Pod]) -> None:
        self._clients = [httpx.AsyncClient(base_url=pod.url, timeout=10) for pod in pods]
        self._turn = itertools.count()
        self.ready: list[httpx.AsyncClient] = []

    async def look(self) -> None:
        while True:
            states = await asyncio.gather(*(each.get("/readyz") for each in self._clients), return_exceptions=True)
            pairs = zip(self._clients, states, strict=True)
            self.ready = [each for each, state in pairs if getattr(state, "status_code", 0) == 200]
            await asyncio.sleep(LOOK)

    async def send(self) -> str:
        """Return what came of a request: its status, or why there is none."""
        if not self.ready:
            return "nobody was ready"
        try:
            client = self.ready[next(self._turn) % len(self.ready)]
            return str((await client.post("/predict", json=EXAMPLE)).status_code)
        except httpx.HTTPError as error:
            return repr(error)


async def rolled(pods: list[Pod]) -> list[str]:
    """Replace the services one by one, and return what came of each request meanwhile."""
    balancer = Balancer(pods)
    looking = asyncio.create_task(balancer.look())
    await until(lambda: len(balancer.ready) == len(pods))
    sent: list[asyncio.Task[str]] = []

    async def load() -> None:
        began = time.perf_counter()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            sent.append(asyncio.create_task(balancer.send()))

    loading = asyncio.create_task(load())
    await asyncio.sleep(1)
    for pod in pods:
        pod.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(pod.process.wait, 60)
        pod.start()
        await asyncio.sleep(2 * LOOK)
        await until(lambda: len(balancer.ready) == len(pods))
    await asyncio.sleep(1)
    loading.cancel()
    found = await asyncio.gather(*sent)
    looking.cancel()
    return found


async def until(true, patience: float = 90) -> None:
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, "the services did not become ready"
        await asyncio.sleep(0.1)


@contextlib.contextmanager
def two(bundle: tuple[str, str], store: Path, drain: float) -> Iterator[list[Pod]]:
    copy_of_bundle(bundle, store)
    with contextlib.ExitStack() as ends:
        pods = []
        for _ in range(2):
            pods.append(Pod(store, bundle[1], drain))
            ends.callback(pods[-1].end)
        yield pods


@pytest.mark.slow
def test_a_rolling_update_under_load_loses_no_request(bundle: tuple[str, str], tmp_path: Path) -> None:
    with two(bundle, tmp_path, drain=DRAIN) as pods:
        answered = asyncio.run(rolled(pods))
    assert len(answered) > 5 * RATE
    assert set(answered) == {"200"}


@pytest.mark.slow
def test_without_the_drain_it_loses_some(bundle: tuple[str, str], tmp_path: Path) -> None:
    with two(bundle, tmp_path, drain=0) as pods:
        answered = asyncio.run(rolled(pods))
    assert set(answered) > {"200"}, "else the drain proves nothing"
