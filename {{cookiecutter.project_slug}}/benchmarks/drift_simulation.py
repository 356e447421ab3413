"""How often the monitor is wrong, and how often it sees what it should: its own code where the truth is known.

Run it in the project's environment with `python -m benchmarks.drift_simulation --looks 1000`; it takes minutes.
docs/monitoring.md explains the tables. Shares have the standard error of so many looks.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from drift_worlds import WORLDS, look, relevant_shift, served

from ml.contract.framing import framing

DAYS = 14
CHANGES = {
    "nothing": {},
    "inputs move by 0.8 standard deviations": {"shift": 0.8},
    "slope of the relation 0.7": {"slope": 0.7},
    "slope of the relation 0.4": {"slope": 0.4},
    "log odds of all records +0.4": {"base": 0.4},
    "log odds of all records +0.6": {"base": 0.6},
}


def false_alarms(looks: int) -> Iterator[str]:
    """Yield the share of looks that call anything drifted where nothing is, by world and rows."""
    yield "| days | rows | ours | any PSI > 0.1 |\n|---|---|---|---|"
    for name, world in WORLDS.items():
        for rows in (100, 10_000, 1_000_000):
            found = [look(world, DAYS, rows, seed) for seed in range(looks)]
            ours = np.mean([any(each.answer == "drift" for each in one) for one in found])
            rule = np.mean([any(each.psi > 0.1 for each in one) for one in found])
            yield f"| {name} | {rows:,} | {ours:.3f} | {rule:.3f} |"


def power(looks: int) -> Iterator[str]:
    """Yield how often a relevant shift is seen, as found and as promised, and how often the answer is inconclusive."""
    yield "| days | rows | seen | promised | inconclusive |\n|---|---|---|---|---|"
    for name, world in WORLDS.items():
        for rows in (100, 10_000, 1_000_000):
            found = [look(world, DAYS, rows, seed, relevant_shift())[0] for seed in range(looks)]
            seen, open_ = (np.mean([each.answer == answer for each in found]) for answer in ("drift", "inconclusive"))
            promised = np.mean([each.power for each in found])
            yield f"| {name} | {rows:,} | {seen:.2f} | {promised:.2f} | {open_:.2f} |"


def concept(looks: int) -> Iterator[str]:
    """Yield how often each signal alarms, and how often the estimated loss is called worse, by what changed."""
    yield "| what changed | rate | loss | slope | any | estimated loss is worse |\n|---|---|---|---|---|---|"
    for name, changed in CHANGES.items():
        found = [served(seed, **changed) for seed in range(looks)]
        each = [f"{np.mean([one.signals[place].alarms for one in found]):.2f}" for place in range(3)]
        any_ = np.mean([any(signal.alarms for signal in one.signals) for one in found])
        yield f"| {name} | {' | '.join(each)} | {any_:.2f} | {np.mean([one.expected.worse for one in found]):.2f} |"


def main() -> None:
    """Print all three tables."""
    parser = argparse.ArgumentParser(description="How often the monitor is wrong, and sees what it should.")
    parser.add_argument("--looks", type=int, default=1000)
    looks = parser.parse_args().looks
    print(
        f"relevant shift {framing().alarm.relevant_shift} is {relevant_shift():.2f} standard deviations; {looks} looks"
    )
    for tables in (false_alarms(looks), power(looks // 4), concept(looks // 4)):
        print(*tables, sep="\n", end="\n\n")


if __name__ == "__main__":
    main()
