"""Requests a second and CPU time a request, beside peers; see the package's docstring."""

import argparse
import sys

import numpy as np

from benchmarks.serving.load import load
from benchmarks.serving.servers import AGAIN, BARE, SERVERS, Running, at_work

ROUNDS, SECONDS = 7, 3.0
NOISE = 0.15  # by which the control may be off


class Measured:
    """What the rounds of one server came to."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.cpu: list[float] = []
        self.errors = 0

    def add(self, server: Running) -> None:
        """Run a round and remember it."""
        before = server.cpu()
        found = load(*server.address, SECONDS)
        self.rates.append(found.rate)
        self.cpu.append((server.cpu() - before) / len(found.milliseconds) * 1e6)
        self.errors += found.errors


def rounds(servers: list[Running], count: int) -> dict[str, Measured]:
    """Load the servers in turns, each round in another order; the first only warms up."""
    found = {server.name: Measured() for server in servers}
    for turn in range(count + 1):
        for server in np.roll(np.array(range(len(servers))), turn).tolist():
            one = Measured() if turn == 0 else found[servers[server].name]
            one.add(servers[server])
        print(f"round {turn} of {count}", file=sys.stderr)
    return found


def show(found: dict[str, Measured]) -> bool:
    """Print the table, and return whether the run counts."""
    rate, cpu = np.array(found[BARE].rates), np.array(found[BARE].cpu)
    print("| server | requests/s | of bare uvicorn | CPU of bare uvicorn | not 200 |\n|---|---|---|---|---|")
    for name, each in found.items():
        shares, spent = np.array(each.rates) / rate, np.array(each.cpu) / cpu
        told = f"{np.median(shares):.2f} ({shares.min():.2f} to {shares.max():.2f})"
        print(f"| {name} | {np.median(each.rates):,.0f} | {told} | {np.median(spent):.2f} | {each.errors} |")
    off = abs(np.median(np.array(found[AGAIN].rates) / rate) - 1)
    wrong = sum(each.errors for each in found.values())
    counts = off <= NOISE and not wrong
    print(f"\ncontrol off by {off:.0%}, {wrong} answers not 200: {'counts' if counts else 'void'}")
    return counts


def main() -> int:
    """Run what is asked for, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="*", help="names of servers beside the reference")
    asked = parser.parse_args()
    chosen = [each for each in SERVERS if each.name == BARE or not asked.only or each.name in asked.only]
    with at_work(chosen) as servers:
        return 0 if show(rounds([*servers, servers[0]._replace(name=AGAIN)], asked.rounds)) else 1


if __name__ == "__main__":
    sys.exit(main())
