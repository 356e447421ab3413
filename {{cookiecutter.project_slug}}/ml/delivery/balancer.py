"""Stands before the replicas of an environment on this machine, as a process of its own: hands on, and nothing else.

A file names the replicas. It is read again all the time, so that they can be replaced without a request being lost: who
is named no more gets no more, and answers what it has.
"""

import asyncio
import itertools
import json
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import aiohttp
from aiohttp import web

from ml.serving.body import LIMIT

LOOK = 0.25  # seconds between two looks at the file, and at which replicas are ready
IDLE = 2.0  # seconds for which a connection to a replica is kept: less than the server keeps it, who might close it
PATIENCE = 30.0  # seconds for an answer
HANGS = aiohttp.ClientTimeout(total=5)  # for an answer of /readyz, while others wait to be looked at
OWN = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "te", "upgrade", "trailer"}  # a hop's


class Replica(NamedTuple):
    """Where one takes predictions and outcomes."""

    url: str
    outcomes: str


class Balancer:
    """Sends each request to the next replica that was ready when it last looked."""

    def __init__(self, file: Path, session: aiohttp.ClientSession) -> None:
        self._file, self._session, self._turn = file, session, itertools.count()
        self._ready: list[Replica] = []

    async def watch(self) -> None:
        """Look for ever at who is named, and who of them is ready."""
        while True:
            named = [Replica(*each) for each in json.loads(self._file.read_bytes())]
            states = await asyncio.gather(*map(self._is_ready, named))
            self._ready = [each for each, ready in zip(named, states, strict=True) if ready]
            await asyncio.sleep(LOOK)

    async def _is_ready(self, replica: Replica) -> bool:
        try:
            async with self._session.get(f"{replica.url}/readyz", timeout=HANGS) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def state(self, request: web.Request) -> web.Response:
        """Say who gets requests now."""
        told = {"status": "ready" if self._ready else "no replica is ready", "replicas": self._ready}
        return web.json_response(told, status=200 if self._ready else 503)

    async def predictions(self, request: web.Request) -> web.Response:
        """Hand on to where a replica takes predictions."""
        content = await request.read()
        return await self._hand_on(request, content, [each.url for each in self._ready])

    async def outcomes(self, request: web.Request) -> web.Response:
        """Hand on to where a replica takes outcomes."""
        content = await request.read()
        return await self._hand_on(request, content, [each.outcomes for each in self._ready])

    async def _hand_on(self, request: web.Request, content: bytes, urls: list[str]) -> web.Response:
        if not urls:
            return web.json_response({"error": "no replica is ready"}, status=503)
        url = urls[next(self._turn) % len(urls)] + request.path_qs
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in OWN]
        try:
            async with self._session.request(request.method, url, headers=headers, data=content) as answer:
                told = [(name, value) for name, value in answer.headers.items() if name.lower() not in OWN]
                return web.Response(status=answer.status, headers=told, body=await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            return web.json_response({"error": f"a replica did not answer: {type(error).__name__}"}, status=502)


async def balance(file: Path, host: str, port: int, outcomes_port: int) -> None:
    """Listen on both ports until told to end; what is under way is answered first."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE)
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        balancer = Balancer(file, session)
        watching = asyncio.create_task(balancer.watch())
        application, beside = web.Application(client_max_size=LIMIT), web.Application(client_max_size=LIMIT)
        application.router.add_get("/readyz", balancer.state)
        application.router.add_route("*", "/{path:.*}", balancer.predictions)
        beside.router.add_post("/outcomes", balancer.outcomes)
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        async with AsyncExitStack() as ends:
            for each, at in ((application, port), (beside, outcomes_port)):
                runner = web.AppRunner(each, access_log=None)
                await runner.setup()
                ends.push_async_callback(runner.cleanup)
                await web.TCPSite(runner, host, at).start()
            await asyncio.wait([watching, asyncio.create_task(told.wait())], return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    asyncio.run(balance(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
