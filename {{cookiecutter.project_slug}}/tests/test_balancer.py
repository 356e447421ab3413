"""The balancer hands on what comes as it is, and who is replaced answers what it has."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
from aiohttp import web

from ml.delivery.balancer import balance
from ml.serving.server import free_port

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def replica(ends: AsyncExitStack, answer: Answer, ready: Callable[[], bool] = lambda: True) -> str:
    """Let a service run that answers so; returns its URL."""

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(status=200 if ready() else 503)

    application = web.Application(client_max_size=2**23)
    application.router.add_get("/readyz", readyz)
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=5)
    await runner.setup()
    ends.push_async_callback(runner.cleanup)
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return f"http://127.0.0.1:{port}"


class Front:
    """A balancer and somebody who asks it."""

    def __init__(self, file: Path) -> None:
        self._file, self.ports = file, (free_port(), free_port())

    async def __aenter__(self) -> "Front":
        self.name()
        self._task = asyncio.create_task(balance(self._file, "127.0.0.1", *self.ports))
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.ports[0]}", timeout=30)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def name(self, *urls: str) -> None:
        """Write who the replicas are; outcomes go there as well."""
        self._file.write_text(json.dumps([[url, url] for url in urls]))

    async def leads_to(self, *urls: str) -> None:
        """Return once it leads to these replicas alone."""
        wanted = [[url, url] for url in urls]
        for _ in range(400):
            try:
                if (await self.client.get("/readyz")).json()["replicas"] == wanted:
                    return
            except httpx.ConnectError:
                pass
            await asyncio.sleep(0.02)
        raise AssertionError(f"it does not lead to {urls}")


def saying(word: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=word)

    return answer


def test_who_is_replaced_answers_what_it_has_and_gets_nothing_new(tmp_path: Path) -> None:
    async def play() -> list[str]:
        came, go_on = asyncio.Event(), asyncio.Event()

        async def slowly(_: web.Request) -> web.StreamResponse:
            came.set()
            await go_on.wait()
            return web.Response(text="old")

        async with AsyncExitStack() as ends:
            old, new = await replica(ends, slowly), await replica(ends, saying("new"))
            front = await ends.enter_async_context(Front(tmp_path / "replicas.json"))
            front.name(old)
            await front.leads_to(old)
            under_way = asyncio.create_task(front.client.post("/predict"))
            await came.wait()
            front.name(new)
            await front.leads_to(new)
            later = [(await front.client.post("/predict")).text for _ in range(4)]
            go_on.set()
            return [(await under_way).text, *later]

    assert asyncio.run(play()) == ["old", "new", "new", "new", "new"]


def test_who_is_not_ready_gets_nothing_and_without_anybody_it_says_so(tmp_path: Path) -> None:
    async def play() -> None:
        ready = [True]
        async with AsyncExitStack() as ends:
            one = await replica(ends, saying("one"), lambda: ready[0])
            other = await replica(ends, saying("other"))
            front = await ends.enter_async_context(Front(tmp_path / "replicas.json"))
            front.name(one, other)
            await front.leads_to(one, other)
            assert {(await front.client.post("/predict")).text for _ in range(4)} == {"one", "other"}
            ready[0] = False
            await front.leads_to(other)
            assert {(await front.client.post("/predict")).text for _ in range(4)} == {"other"}
            front.name(one)
            await front.leads_to()
            answers = [await front.client.post("/predict"), await front.client.get("/readyz")]
            assert [each.status_code for each in answers] == [503, 503]

    asyncio.run(play())


def test_what_comes_goes_on_as_it_is_and_so_does_the_answer(tmp_path: Path) -> None:
    async def play() -> None:
        async def tell(request: web.Request) -> web.StreamResponse:
            told = {"path": request.path_qs, "body": len(await request.read()), "token": request.headers["x-token"]}
            return web.json_response(told, status=418, headers={"retry-after": "1"})

        async with AsyncExitStack() as ends:
            one = await replica(ends, tell)
            front = await ends.enter_async_context(Front(tmp_path / "replicas.json"))
            front.name(one)
            await front.leads_to(one)
            body, headers = b"x" * 3_000_000, {"x-token": "secret"}
            outcomes = f"http://127.0.0.1:{front.ports[1]}/outcomes"
            for url, path in (("/predict?a=%20b", "/predict?a=%20b"), (outcomes, "/outcomes")):
                answer = await front.client.post(url, content=body, headers=headers)
                assert (answer.status_code, answer.headers["retry-after"]) == (418, "1")
                assert answer.json() == {"path": path, "body": len(body), "token": "secret"}

    asyncio.run(play())


def test_who_ends_in_the_middle_is_told_as_such(tmp_path: Path) -> None:
    async def play() -> None:
        async def end(request: web.Request) -> web.StreamResponse:
            assert request.transport
            request.transport.abort()
            return web.Response()

        async with AsyncExitStack() as ends:
            one = await replica(ends, end)
            front = await ends.enter_async_context(Front(tmp_path / "replicas.json"))
            front.name(one)
            await front.leads_to(one)
            answer = await front.client.post("/predict")
            assert (answer.status_code, "a replica did not answer" in answer.text) == (502, True)

    asyncio.run(play())
