"""Loads a running service with single predictions at a steady rate, and holds the latency against the framing's budget.

Run `ml serve` with one core, as the budget says, then `python -m benchmarks.load` in the project's environment,
optionally with `--url` and `--seconds`. Requests leave on schedule whether or not earlier ones were answered, so that a
slow service cannot hide its queue. Exit code 1 when the budget is exceeded.
"""

import argparse
import asyncio
import itertools
import sys
import time
from datetime import timedelta

import httpx
import numpy as np

from ml.contract.framing import framing
from ml.features.rows import records_of
from ml.features.table import json_of_frame
from ml.settings import settings

RECORDS = 2000  # that are sent in turn


async def load(url: str, seconds: float, rate: float, bodies: list[dict[str, object]]) -> list[float]:
    """Return the milliseconds from when each request was due to its answer; raises for any answer but 200."""
    taken: list[float] = []

    async def one(client: httpx.AsyncClient, due: float, body: dict[str, object]) -> None:
        (await client.post("/predict", json=body)).raise_for_status()
        taken.append((time.perf_counter() - due) * 1000)

    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client, asyncio.TaskGroup() as tasks:
        began = time.perf_counter()
        for number, body in zip(range(int(seconds * rate)), itertools.cycle(bodies), strict=False):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.create_task(one(client, due, body))
    return taken


def main() -> int:
    """Send, print what came out beside the budget, and return the exit code."""
    serve, budget = settings().serve, framing().budget
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=f"http://{serve.host}:{serve.port}")
    parser.add_argument("--seconds", type=float, default=20)
    asked = parser.parse_args()
    until = settings().data.until
    days = [until - timedelta(days=back) for back in range(2)]
    bodies = json_of_frame(records_of(settings().lake_url, days).iloc[:RECORDS])
    taken = asyncio.run(load(asked.url, asked.seconds, budget.throughput_per_second, bodies))
    middle, late = np.quantile(taken, [0.5, 0.99])
    print(f"{len(taken):,} predictions at {budget.throughput_per_second:g} a second: median {middle:.1f} ms")
    print(f"p99 {late:.1f} ms, budget.latency_p99_ms is {budget.latency_p99_ms:g}")
    return int(late > budget.latency_p99_ms)


if __name__ == "__main__":
    sys.exit(main())
