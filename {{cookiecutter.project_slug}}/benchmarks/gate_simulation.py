"""How often the gate errs, and how often it recognises what is good: its own checks on pairs whose truth is known.

Run it in the project's environment with `python -m benchmarks.gate_simulation --pairs 2000`; it takes minutes.
docs/gate-statistics.md explains the tables. Shares have the standard error of so many pairs.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import gate_worlds as worlds
from gate_worlds import Pair, World

from ml.contract.framing import framing
from ml.gate import performance
from ml.statistics.inference import days_needed, power


def error(share: float, pairs: int) -> float:
    """Return the binomial standard error of a share."""
    return float(np.sqrt(share * (1 - share) / pairs))


def at_the_limits(pairs: int) -> None:
    """Print how often each check, and all together, pass and fail with the truth exactly at a limit."""
    margin = framing().gate.margin
    found = {name: worlds.run(world(), [check], pairs) for name, (check, world) in worlds.at_the_limits().items()}
    primary = Pair(worlds.honest, worlds.honest)
    found["all, at the primary limit"] = worlds.run(
        World(worlds.worse(worlds.noisy, margin), primary), worlds.STATISTICAL, pairs
    )
    found["all, at every limit"] = worlds.run(worlds.at_every_limit(), worlds.STATISTICAL, pairs)
    found["beyond: frozen, noise a day"] = worlds.run(worlds.beyond_the_promise(), [performance.frozen], pairs)
    print(f"{'truth at the limit':32}{'pairs':>7}{'passed':>9}{'(se)':>9}{'failed':>9}{'(se)':>9}")
    for name, run in found.items():
        passed, failed = run.share("pass"), run.share("fail")
        errors = error(passed, pairs), error(failed, pairs)
        print(f"{name:32}{pairs:7}{passed:9.4f}{errors[0]:9.4f}{failed:9.4f}{errors[1]:9.4f}")


def power_of_primary(pairs: int) -> None:
    """Print how often better challengers than the limit pass, beside what the formula says of their true spread."""
    tail, planned, window = framing().gate.tail, framing().gate.power, framing().time.test_days
    print(f"\n{'below the primary limit':32}{'days':>7}{'passed':>9}{'formula':>9}{'failed':>9}{'days asked for':>16}")
    for name, (world, distance) in worlds.below_the_limit().items():
        pair, needed = world(), None
        for days in (window, 2 * window, None):
            run = worlds.run(pair, [performance.primary], pairs, days=days or needed)
            count = days or needed or window
            spread = run.values["primary"].std() * np.sqrt(count)
            needed = needed or days_needed(spread, distance, tail, planned)
            formula = power(spread, distance, count, tail)
            print(f"{name:32}{count:7}{run.share('pass'):9.3f}{formula:9.3f}{run.share('fail'):9.3f}{needed or 0:16}")
            if needed and needed > 5 * window:
                break


def claims(pairs: int) -> None:
    """Print how often one of two equally good models is claimed to be better."""
    print(f"\n{'claimed to be better':32}{'noise a day':>14}{'days alike':>14}")
    moody = worlds.claims(Pair(worlds.moody(0.3, 0), worlds.moody(0.3, 1)), pairs)
    calm = worlds.claims(Pair(worlds.noisy(0.3, 0), worlds.noisy(0.3, 1)), pairs, swing=0)
    for name, share in moody.items():
        print(f"{name:32}{share:14.3f}{calm[name]:14.3f}")


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000, help="champions and challengers a line (default: 2000)")
    pairs = parser.parse_args().pairs
    at_the_limits(pairs)
    power_of_primary(pairs)
    claims(pairs)


if __name__ == "__main__":
    main()
