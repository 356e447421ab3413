"""The 99th percentile at 70 % of what each server can take, beside bare uvicorn's; see the package's docstring."""

import argparse
import sys

import numpy as np

from benchmarks.serving.load import load, percentiles, row
from benchmarks.serving.servers import BARE, OURS, SERVERS, at_work

ROUNDS, SECONDS, SHARE = 7, 5.0, 0.7


def main() -> int:
    """Find each one's knee, load it at a part of that in turns, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    with at_work([each for each in SERVERS if each.name in (BARE, OURS)]) as servers:
        knees = {each.name: np.median([load(*each.address, 2.0).rate for _ in range(4)][1:]) for each in servers}
        found = {each.name: [] for each in servers}
        errors = 0
        for turn in range(asked.rounds):
            for each in servers[:: 1 if turn % 2 else -1]:
                ran = load(*each.address, SECONDS, float(knees[each.name] * SHARE))
                found[each.name].append(percentiles(ran.milliseconds))
                errors += ran.errors
    print(
        "| server | 70 % of the knee, requests/s | median, ms | p99, ms | p99 of bare uvicorn |\n|---|---|---|---|---|"
    )
    for name, knee in knees.items():
        print(row(f"{name} | {knee * SHARE:,.0f}", found[name], found[BARE]))
    print(f"\n{errors} answers not 200: {'void' if errors else 'counts'}")
    return int(errors > 0)


if __name__ == "__main__":
    sys.exit(main())
