"""What a look of the monitor takes in time and memory, by how much is predicted a day.

Run it in the project's environment, once a bundle is trained, with `python -m benchmarks.monitoring`; it prints a
Markdown table. Two weeks are labelled and profiled, drawn at random: all columns that the event log keeps. What is
measured, in a process of its own, is what `ml monitor` does after `ml profile` and `ml label`: read them, judge, and
draw the page. Memory is the peak of the process less what it had imported before.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.memory import peak
from ml.contract import bundle
from ml.contract.events import FEATURES, LOGGED
from ml.contract.release import CHAMPION
from ml.monitoring.look import look
from ml.monitoring.monitor import verdict
from ml.monitoring.profile_writer import Writer
from ml.monitoring.report import render
from ml.settings import ROOT, settings
from ml.store import partitions

FIRST, DAYS = date(2026, 4, 1), 14
MANY = 4000  # values of a text


def write(digest: str, rows: int) -> None:
    """Label and profile so many predictions of each day."""
    drawn = np.random.default_rng(0)
    names = np.array([f"value {one}" for one in range(MANY)], dtype=object)
    newest = np.datetime64(FIRST + timedelta(DAYS), "s")
    for day in (FIRST + timedelta(at) for at in range(DAYS)):
        score = drawn.beta(2, 8, rows)
        frame = pd.DataFrame(
            {
                "request_id": [f"{day}-{row:032d}" for row in range(rows)],
                "time": pd.date_range(pd.Timestamp(day, tz="UTC") + timedelta(hours=6), periods=rows, freq="50ms"),
                "bundle": digest,
                "score": score,
                "arm": CHAMPION,
                "day": str(day),
                "outcome": (drawn.random(rows) < score).astype(float),
                "status": "observed",
                "delay_hours": drawn.gamma(2, 4, rows),
            }
        )
        for feature in LOGGED:
            number = feature.kind == "number"
            of = drawn.gamma(2, 10, rows).astype(np.float32) if number else names[drawn.integers(0, MANY, rows)]
            frame[FEATURES + feature.name] = of
        partitions.write(settings().labels_url, day, frame)
        writer = Writer(settings().profiles_url, f"{day:%Y%m%d}T00-a", newest)
        told = pa.Table.from_pandas(frame, preserve_index=False)
        writer.add(told.cast(pa.schema([(each.name, _as_logged(each.type)) for each in told.schema])))
        writer.close([str(day)])


def _as_logged(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_large_string(kind) else kind


def one() -> None:
    """Do what `ml monitor` does with this process's store, and print what it took."""
    before, began = peak(), time.perf_counter()
    looked = look(None)
    render(looked, verdict(looked))
    print(json.dumps({"seconds": time.perf_counter() - began, "mb": peak() - before}))


def main(sizes: list[int]) -> None:
    """Print the table."""
    store = settings().store_url
    digest = bundle.newest(store)
    print("| predictions a day | seconds | MB |\n|--:|--:|--:|")
    for rows in sizes:
        with tempfile.TemporaryDirectory() as home:
            (Path(home) / "bundles").symlink_to(Path(store).resolve() / "bundles")
            there = {"ML_STORE_URL": home, "ML_RELEASE_BUNDLE": digest}
            os.environ.update(there)
            settings.cache_clear()
            write(digest, rows)
            command = [sys.executable, "-m", "benchmarks.monitoring", "--one"]
            ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        took = json.loads(ran.stdout.splitlines()[-1])
        print(f"| {rows:,} | {took['seconds']:.0f} | {took['mb']:,.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one()
    else:
        main(given.sizes)
