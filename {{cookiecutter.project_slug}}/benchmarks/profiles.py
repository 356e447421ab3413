"""How fast `ml profile` is beside whylogs' own batches, how it grows, and what memory it takes.

Run it in the project's environment with `python -m benchmarks.profiles`; it prints a Markdown table. A log holds one
local day of one bundle's predictions in two arms, and is made of a closed segment for each minute in which they came,
or of one for each hour, as after `ml compact`. Inputs are drawn: as many as the problem has, two of the categories with
thousands of values. In turns, each in a process of its own:

- `ml profile`: from the log to the profiles, segments read, rows split by arm and hour, and parts written;
- `whylogs`: `whylogs.log(pandas=...)` on the same rows and columns, in memory already, a hundred thousand at once,
  which is where it is fastest; it keeps neither arms nor hours apart, and writes nothing.

Rates are rows per second of one core, the start of Python left out. Memory is the peak of the process less what it had
imported before.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import reduce
from statistics import median

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.memory import peak
from ml.contract.events import FEATURES, LOGGED, PREDICTIONS, TABLES
from ml.contract.release import CHAMPION
from ml.eventlog import read, segments
from ml.monitoring.profiling import profile
from ml.settings import ROOT
from ml.store import files

import ml.contract.profile  # noqa: F401  # isort: skip  # gives whylogs the names it asks NumPy for
import whylogs  # isort: skip

DAY = datetime(2026, 4, 1, 4, tzinfo=UTC)  # when the day begins
PLAIN = {"text": "x", "number": 0.5, "single": 0.5, "flag": True, "time": DAY}
AT_ONCE = 100_000


def write(log: str, rows: int, many: int) -> None:
    """Write a day of predictions in so many closed segments, one after the other."""
    drawn, each = np.random.default_rng(0), rows // many
    texts = [feature.name for feature in LOGGED if feature.kind != "number"]
    names = {name: _names(name, 4000 if place < 2 else 20 * place) for place, name in enumerate(texts)}
    for at in range(many):
        begin = DAY + timedelta(days=at / many)
        told: dict[str, object] = {
            "request_id": [f"{at}-{row}" for row in range(each)],
            "time": [begin + timedelta(days=row / rows) for row in range(each)],
            "bundle": "b" * 64,
            "arm": np.where(drawn.random(each) < 0.9, CHAMPION, "new"),
            "score": drawn.random(each),
        }
        for feature in LOGGED:
            values = drawn.gamma(2, 10, each).astype(np.float32)
            values[drawn.random(each) < 0.1] = np.nan
            of = names.get(feature.name)
            told[FEATURES + feature.name] = values if of is None else of[drawn.integers(0, len(of), each)]
        row = {name: PLAIN[kind] for name, kind in TABLES[PREDICTIONS].items()} | told
        whole = pa.Table.from_batches([segments.batch(PREDICTIONS, [(row, each)])])
        name = f"{begin:%Y%m%dT%H%M%S}.000000-a{segments.CLOSED}"
        files.write(files.join(log, PREDICTIONS, name), segments.closed(whole))


def _names(name: str, many: int) -> NDArray[np.object_]:
    return np.array(["", *(f"{name} {one}" for one in range(many))], dtype=object)


def ours(log: str, store: str) -> float:
    """Profile the log and return the seconds of processor."""
    began = time.process_time()
    profile(log, store, 400)
    return time.process_time() - began


def whylogs_alone(log: str, store: str) -> float:
    """Let whylogs profile frames that are in memory and return the seconds of processor."""
    frame = read.read(log, PREDICTIONS)
    frame = frame[["score", *(name for name in frame if name.startswith(FEATURES))]]
    frame = frame.replace("", None)
    frames = [frame[at : at + AT_ONCE].reset_index(drop=True) for at in range(0, len(frame), AT_ONCE)]
    began = time.process_time()
    reduce(lambda one, other: one.merge(other), [whylogs.log(pandas=each).view() for each in frames])
    return time.process_time() - began


WAYS = {"`ml profile`": ours, "whylogs": whylogs_alone}


def measure(way: str, log: str) -> dict[str, float]:
    """Return the seconds and peak megabytes of one way, in a process of its own."""
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "benchmarks.profiles", "--one", way, log, store]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(ran.stdout.splitlines()[-1]))


def one(way: str, log: str, store: str) -> None:
    """Do one way and print what it took."""
    before = peak()
    seconds = WAYS[way](log, store)
    print(json.dumps({"seconds": seconds, "mb": peak() - before}))


def main(rounds: int, sizes: list[int]) -> None:
    """Print the table."""
    print("| predictions | segments | `ml profile`, rows/s | MB | whylogs, rows/s | ours of it |")
    print("|--:|--:|--:|--:|--:|--:|")
    for rows in sizes:
        for many in (24 * 60, 24):
            with tempfile.TemporaryDirectory() as log:
                write(log, rows, many)
                found = [{way: measure(way, log) for way in WAYS} for _ in range(rounds)]
            own, limit = ([each[way] for each in found] for way in WAYS)
            ratios = [b["seconds"] / a["seconds"] for a, b in zip(own, limit, strict=True)]
            rates = [rows // many * many / median(each["seconds"] for each in of) for of in (own, limit)]
            mb = median(each["mb"] for each in own)
            between = f"{median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
            print(f"| {rows:,} | {many:,} | {rates[0]:,.0f} | {mb:,.0f} | {rates[1]:,.0f} | {between} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(*given.one)
    else:
        main(given.rounds, given.sizes)
