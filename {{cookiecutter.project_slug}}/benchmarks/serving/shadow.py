"""What a challenger that hangs costs the champion: its 99th percentile without and with one; see the package."""

import argparse
import socket
import sys
import tempfile
from pathlib import Path

from benchmarks.serving.load import load, percentiles, row
from benchmarks.serving.servers import OURS, SERVERS, at_work
from ml.contract import release
from ml.contract.release import Arm, Experiment, Release
from ml.settings import settings

ROUNDS, SECONDS, RATE = 7, 5.0, 1000.0


def main() -> int:
    """Take turns with one service that has a shadow and one that has none, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    ours = next(each for each in SERVERS if each.name == OURS)
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"  # takes connections, and never answers
        experiment = Experiment(name="hangs", mode="shadow", arms={"challenger": Arm(bundle=url, percent=100)})
        kinds = {"alone": None, "alone, again (A/A)": None, "with a shadow that hangs": experiment}
        chosen = []
        champion = release.read().champion
        for name, each in kinds.items():
            place = Path(folder, name.replace(" ", "-"), settings().release.environment)
            place.mkdir(parents=True)
            told = Release(champion=champion, experiment=each)
            (place / "release.yaml").write_text(told.model_dump_json(exclude_none=True))  # JSON is YAML
            chosen.append(ours._replace(name=name, variables={"ML_RELEASE_FOLDER": str(place.parent)}))
        with at_work(chosen) as servers:
            found = {each.name: [] for each in servers}
            errors = 0
            for turn in range(asked.rounds + 1):
                for each in servers[turn % 3 :] + servers[: turn % 3]:
                    ran = load(*each.address, SECONDS, RATE)
                    errors += ran.errors
                    if turn:
                        found[each.name].append(percentiles(ran.milliseconds))
    print(f"| at {RATE:,.0f} requests/s | median, ms | p99, ms | p99 of alone |\n|---|---|---|---|")
    for name, own in found.items():
        print(row(name, own, found["alone"]))
    print(f"\n{errors} answers not 200")
    return int(errors > 0)


if __name__ == "__main__":
    sys.exit(main())
