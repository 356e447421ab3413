"""How often verdicts on experiments err, and how soon they come: the project's estimators where the truth is known.

Run it in the project's environment with `python -m benchmarks.experiment_simulation --count 2000`; it takes minutes.
docs/experiments.md explains the tables. Shares have the standard error of so many experiments.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from experiment_worlds import World, coverage, decided, last_days, mismatch, wrong_once

from ml.contract.framing import framing

WORLDS = {
    "as usual": World(),
    "entities alike": World(temper=0, growth=0),
    "entities very unlike": World(temper=1500, noise=500),
    "some grow twentyfold": World(growth=3),
    "all there from the first day": World(late=False, uneven=False),
    "a tenth in the arm": World(share=0.1),
    "120 days": World(days=120, rows=1.0),
    "adjusted by the past": World(before=30, entities=1000),
}


def peeking(count: int) -> None:
    """Print how often each interval misses the truth when somebody looks daily."""
    print(f"{'wrong, of nothing to find':32}{'sequence, daily':>18}{'one look, daily':>18}{'one look, last':>18}")
    for name, world in WORLDS.items():
        found = wrong_once(world, count)
        print(f"{name:32}" + "".join(f"{share:18.4f}" for share in found.values()))


def clusters(count: int) -> None:
    """Print how often the interval of one look holds, by what is counted as independent."""
    print(f"\n{'intervals of 95 % that hold':32}{'share':>18}")
    for name, share in coverage(count).items():
        print(f"{name:32}{share:18.4f}")


def past(count: int) -> None:
    """Print what the adjustment by the past does to bias and spread."""
    head = f"{'bias':>10}{'(se)':>10}{'spread':>10}{'error told':>12}{'variance less':>16}"
    print(f"\n{'30 days, after so many before':32}{head}")
    for before, temper in ((30, 200.0), (30, 500.0), (90, 500.0)):
        world = World(effect=40, before=before, entities=1000, temper=temper)
        for name, found in zip(("", "adjusted"), last_days(world, count), strict=True):
            values = np.array([each.value for each in found])
            told = np.mean([each.error for each in found])
            less = np.mean([each.reduction for each in found])
            line = f"{values.mean() - world.effect:10.2f}{values.std() / np.sqrt(count):10.2f}{values.std():10.1f}"
            print(f"{f'{before} days, temper {temper:g} {name}':32}{line}{told:12.1f}{less:16.3f}")


def splits(count: int) -> None:
    """Print how often a split planned in halves is called broken."""
    print(f"\n{'called broken, 20,000 entities':32}{'one look':>18}{'30 daily looks':>18}")
    for share in (0.5, 0.505, 0.51, 0.52):
        line = "".join(f"{mismatch(share, count, days=days):18.4f}" for days in (1, 30))
        print(f"{f'{100 * share:.1f} % in one':32}{line}")


def power(count: int) -> None:
    """Print how often an effect is shown within 30 days, and by which day in the median."""
    margin = framing().experiment.margin
    print(f"\n{'shown within 30 days':32}{'below 0':>10}{'day':>6}{f'below {margin:g}':>12}{'day':>6}")
    for effect in (margin, margin / 2, 0.0, -margin / 2, -margin, -1.5 * margin):
        better, no_worse = (decided(World(effect=effect), count, limit) for limit in (0.0, margin))
        line = f"{better[0]:10.3f}{better[1]:6.0f}{no_worse[0]:12.3f}{no_worse[1]:6.0f}"
        print(f"{f'truth {effect:+.0f} per thousand':32}{line}")


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="experiments a line (default: 2000)")
    count = parser.parse_args().count
    for part in (peeking, clusters, past, splits, power):
        part(count)


if __name__ == "__main__":
    main()
