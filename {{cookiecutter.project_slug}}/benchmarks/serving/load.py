"""The client: keep-alive connections that send prepared requests, and check nothing but the status of each answer."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import uvloop

CONNECTIONS = 16


class Load(NamedTuple):
    """What a round measured: answers a second, those that were not 200, and the milliseconds that each took."""

    rate: float
    errors: int
    milliseconds: np.ndarray


def request(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """Return an HTTP/1.1 request as it goes over the wire."""
    lines = {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class Connection(asyncio.Protocol):
    """Sends one request at a time; the answer's future gets whether it was 200."""

    def __init__(self) -> None:
        self._answer = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def ask(self, content: bytes) -> "asyncio.Future[bool]":
        """Send a request, and return whether its answer will be 200."""
        self._head, self._left, self._answer = b"", 0, asyncio.get_running_loop().create_future()
        self._transport.write(content)
        return self._answer

    def data_received(self, data: bytes) -> None:
        """Wait for the whole answer."""
        if not self._left:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            mark = self._head[:end].lower().find(b"content-length:")
            self._left = int(self._head[mark + 15 : end].split(b"\r\n", 1)[0]) + end + 4 - len(self._head)
        else:
            self._left -= len(data)
        if self._left <= 0 and not self._answer.done():
            self._answer.set_result(self._head.startswith(b"HTTP/1.1 200"))

    def connection_lost(self, error: Exception | None) -> None:
        """Give up what was asked."""
        if not self._answer.done():
            self._answer.set_result(False)


async def _connect(port: int, count: int) -> list[Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(count)]


async def _closed(port: int, requests: Iterator[bytes], seconds: float, connections: int) -> Load:
    taken: list[float] = []
    errors, end = 0, time.perf_counter() + seconds

    async def one(connection: Connection) -> None:
        nonlocal errors
        while (began := time.perf_counter()) < end:
            errors += not await connection.ask(next(requests))
            taken.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*map(one, await _connect(port, connections)))
    return Load(len(taken) / (time.perf_counter() - began), errors, np.array(taken) * 1000)


async def _open(port: int, requests: Iterator[bytes], seconds: float, rate: float) -> Load:
    """Each connection sends on a schedule of its own, and a late answer counts from when its request was due."""
    taken: list[float] = []
    errors, began = 0, time.perf_counter()

    async def one(number: int, connection: Connection) -> None:
        nonlocal errors
        for due in np.arange(began + number / rate, began + seconds, CONNECTIONS / rate).tolist():
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            errors += not await connection.ask(next(requests))
            taken.append(time.perf_counter() - due)

    connections = await _connect(port, CONNECTIONS)
    began = time.perf_counter()
    await asyncio.gather(*(one(number, each) for number, each in enumerate(connections)))
    return Load(len(taken) / (time.perf_counter() - began), errors, np.array(taken) * 1000)


def load(
    port: int, requests: Sequence[bytes], seconds: float, rate: float | None = None, connections: int = CONNECTIONS
) -> Load:
    """Send requests in turn for some seconds: as fast as answers come, or at a rate, whether or not they do."""
    sent = itertools.cycle(requests)
    return uvloop.run(_open(port, sent, seconds, rate) if rate else _closed(port, sent, seconds, connections))


def percentiles(milliseconds: np.ndarray) -> np.ndarray:
    """Return the median and the 99th percentile."""
    return np.quantile(milliseconds, [0.5, 0.99])


def row(name: str, own: list[np.ndarray], reference: list[np.ndarray]) -> str:
    """Return a line of a table: medians over rounds of both percentiles, and the 99th beside a reference's."""
    told = " | ".join(f"{value:.2f}" for value in np.median(np.array(own), axis=0))
    return f"| {name} | {told} | {np.median(np.array(own)[:, 1] / np.array(reference)[:, 1]):.2f} |"
