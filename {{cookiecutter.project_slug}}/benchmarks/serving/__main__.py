"""Runs the comparison; see the package's docstring."""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.serving import servers
from benchmarks.serving.load import Load, load
from benchmarks.serving.servers import BARE, SERVERS, Running
from ml.features.rows import records_of
from ml.features.table import json_of_frame
from ml.settings import settings

ROUNDS, SECONDS, RECORDS, BULK = 7, 3.0, 2000, 1000
NOISE = 0.15  # by which the control may be off
AGAIN = "bare uvicorn, again (A/A)"


class Measured:
    """What the rounds of one server came to, beside the reference's of the same round."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.cpu: list[float] = []
        self.errors = 0

    def add(self, server: Running, run: Callable[[], Load]) -> None:
        """Run a round and remember it."""
        before = server.cpu()
        found = run()
        self.rates.append(found.rate)
        self.cpu.append((server.cpu() - before) / len(found.milliseconds) * 1e6)
        self.errors += found.errors


def records() -> list[dict]:
    """Return records of the training window's last days, as a client sends them."""
    lake, until = settings().lake_url, settings().data.until
    return json_of_frame(records_of(lake, [until]).head(RECORDS))


def rounds(at_work: list[tuple[str, Running]], count: int, requests: dict[str, list[bytes]]) -> dict[str, Measured]:
    """Load the servers in turns, each round in another order."""
    found = {name: Measured() for name, _ in at_work}
    for turn in range(count + 1):
        order = at_work[turn % len(at_work) :] + at_work[: turn % len(at_work)]
        for name, server in order:
            one = Measured() if turn == 0 else found[name]  # the first warms up
            one.add(server, lambda server=server: load(server.port, requests[server.name], SECONDS))
        print(f"round {turn} of {count}", file=sys.stderr)
    return found


def show(found: dict[str, Measured]) -> bool:
    """Print the table, and return whether the run counts."""
    rate, cpu = np.array(found[BARE].rates), np.array(found[BARE].cpu)
    print("| server | requests/s | of bare uvicorn | CPU of bare uvicorn | not 200 |\n|---|---|---|---|---|")
    for name, each in found.items():
        shares, spent = np.array(each.rates) / rate, np.array(each.cpu) / cpu
        print(
            f"| {name} | {np.median(each.rates):,.0f} | {np.median(shares):.2f} ({shares.min():.2f} to {shares.max():.2f})"
            f" | {np.median(spent):.2f} | {each.errors} |"
        )
    off = abs(np.median(np.array(found[AGAIN].rates) / rate) - 1)
    wrong = sum(each.errors for each in found.values())
    print(f"\ncontrol off by {off:.0%}, {wrong} answers not 200: {'void' if off > NOISE or wrong else 'counts'}")
    return off <= NOISE and not wrong


def main() -> int:
    """Run what is asked for, and return the exit code: 1 where the run is void."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="*", help="names of servers beside the reference")
    asked = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[-1]})
    told = [json.dumps(record).encode() for record in records()]
    requests = {each.name: [each.request(body) for body in told] for each in SERVERS}
    chosen = [each for each in SERVERS if each.name == BARE or not asked.only or each.name in asked.only]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as held:
        at_work = []
        for each in chosen:
            if each.absent:
                print(f"{each.name}: {each.needs} is not installed here, left out", file=sys.stderr)
                continue
            core = cores[0] if len(cores) > 1 else None
            at_work.append((each.name, held.enter_context(servers.running(each, Path(folder), core))))
        at_work.append((AGAIN, at_work[0][1]))
        return 0 if show(rounds(at_work, asked.rounds, requests)) else 1


if __name__ == "__main__":
    sys.exit(main())
