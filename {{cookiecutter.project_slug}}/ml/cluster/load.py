"""Asks a service at a steady rate, whether or not it answers in time, and tells how many answers were lost."""

import asyncio
import time
from collections import Counter
from typing import NamedTuple

import httpx
import numpy as np

from ml.contract import secrets
from ml.errors import ContractError
from ml.progress import say

PATIENCE = 30.0  # seconds, after which an answer is lost


class Load(NamedTuple):
    """What came of it: how long each answer took in milliseconds, and why others did not come."""

    milliseconds: list[float]
    lost: Counter[str]


async def ask(url: str, body: str, seconds: float, rate: float) -> Load:
    """Send `body` to `url` so many times a second, each once: nobody asks again for an answer that was lost.

    An answer counts from when its request was due, so that a slow service cannot hide its queue.
    """
    found = Load([], Counter())
    headers = {"content-type": "application/json", **secrets.as_caller()}

    async def one(client: httpx.AsyncClient, due: float) -> None:
        try:
            (await client.post("/predict", content=body)).raise_for_status()
            found.milliseconds.append((time.perf_counter() - due) * 1000)
        except httpx.HTTPStatusError as error:
            found.lost[f"status {error.response.status_code}"] += 1
        except httpx.HTTPError as error:
            found.lost[type(error).__name__] += 1

    async with (
        httpx.AsyncClient(base_url=url, timeout=PATIENCE, headers=headers) as client,
        asyncio.TaskGroup() as tasks,
    ):
        began = time.perf_counter()
        for number in range(int(seconds * rate)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.create_task(one(client, due))
    return found


def load(url: str, record: str, seconds: float, rate: float) -> None:
    """Send a record to `url` for some seconds; raises ContractError where an answer was lost."""
    found = asyncio.run(ask(url, record, seconds, rate))
    lost = sum(found.lost.values())
    if lost:
        why = ", ".join(f"{count} {name}" for name, count in found.lost.most_common())
        broken = f"{lost:,} of {lost + len(found.milliseconds):,} answers of {url} were lost: {why}"
        raise ContractError("load", broken, "See the service's log")
    late = np.quantile(found.milliseconds, 0.99)
    say("load", f"{url} lost none of {len(found.milliseconds):,} answers at {rate:g} a second, p99 {late:.1f} ms")
