"""What watching takes in time and memory, by how much is predicted a day.

Run it in the project's environment, once a bundle is trained, with `python -m benchmarks.monitoring`; it prints a
Markdown table. The event log holds eight days of predictions, by the hour as after `ml compact`, and an outcome for
each: inputs are drawn, as many as the problem has, two of the categories with thousands of values. The steps of `ml
monitor` follow each other, each in a process of its own: label, profile, and judge, which reads both and draws the
page. Memory is the peak of the process less what it had imported before.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.memory import peak
from ml.contract import bundle
from ml.contract.events import FEATURES, LOGGED, OUTCOMES, PREDICTIONS, TABLES
from ml.contract.release import CHAMPION
from ml.eventlog import segments
from ml.labelling.label import label
from ml.monitoring.look import look
from ml.monitoring.monitor import verdict
from ml.monitoring.profiling import profile
from ml.monitoring.report import render
from ml.settings import ROOT, settings
from ml.store import files

FIRST, DAYS, HOURS = datetime(2026, 4, 1, 4, tzinfo=UTC), 8, 24
PLAIN = {"text": "", "number": 0.5, "single": 0.5, "flag": False, "time": FIRST}
MANY = (4000, 4000, 20)  # values of the first, of the second and of each other category


def write(digest: str, rows: int) -> None:
    """Log so many predictions of each day, and what came of them within a day."""
    drawn, each = np.random.default_rng(0), rows // HOURS
    texts = [feature.name for feature in LOGGED if feature.kind != "number"]
    names = {
        name: np.array([f"{name} {one}" for one in range(MANY[min(at, 2)])], dtype=object)
        for at, name in enumerate(texts)
    }
    for hour in range(DAYS * HOURS):
        begin = FIRST + timedelta(hours=hour)
        ids, score = [f"{drawn.integers(16):x}{hour:05d}-{row:034d}" for row in range(each)], drawn.beta(2, 8, each)
        seconds = np.sort(drawn.uniform(0, 3600, each))
        told: dict[str, object] = {
            "request_id": ids,
            "time": [begin + timedelta(seconds=second) for second in seconds],
            "bundle": digest,
            "arm": CHAMPION,
            "score": score,
        }
        for feature in LOGGED:
            of = names.get(feature.name)
            number = drawn.gamma(2, 10, each).astype(np.float32)
            told[FEATURES + feature.name] = number if of is None else of[drawn.integers(0, len(of), each)]
        _segment(PREDICTIONS, begin, told, each)
        came = [begin + timedelta(seconds=3600 * wait) for wait in drawn.uniform(1, 24, each)]
        outcomes = (drawn.random(each) < score).tolist()
        _segment(OUTCOMES, begin, {"request_id": ids, "time": came, "outcome": outcomes}, each)


def _segment(table: str, begin: datetime, told: dict[str, object], rows: int) -> None:
    row = {name: PLAIN[kind] for name, kind in TABLES[table].items()} | told
    whole = pa.Table.from_batches([segments.batch(table, [(row, rows)])])
    name = f"{begin:%Y%m%dT%H%M%S}.000000-a{segments.CLOSED}"
    files.write(files.join(settings().events_url, table, name), segments.closed(whole))


def _judge() -> None:
    looked = look(None)
    render(looked, verdict(looked))


STEPS: dict[str, Callable[[], object]] = {
    "label": label,
    "profile": lambda: profile(settings().events_url, settings().profiles_url, settings().monitor.keep_days),
    "judge": _judge,
}


def one(step: str) -> None:
    """Do a step on this process's store, and print what it took."""
    before, began = peak(), time.perf_counter()
    STEPS[step]()
    print(json.dumps({"seconds": time.perf_counter() - began, "mb": peak() - before}))


def main(sizes: list[int]) -> None:
    """Print the table."""
    store = settings().store_url
    digest = bundle.newest(store)
    head = [f"{step}, {unit}" for step in STEPS for unit in ("s", "MB")]
    print(f"| predictions a day | {' | '.join(head)} |\n|{'--:|' * (1 + len(head))}")
    for rows in sizes:
        with tempfile.TemporaryDirectory() as home:
            (Path(home) / "bundles").symlink_to(Path(store).resolve() / "bundles")
            os.environ |= {"ML_STORE_URL": home, "ML_RELEASE_BUNDLE": digest}
            settings.cache_clear()
            write(digest, rows)
            took = [_measured(step) for step in STEPS]
        told = [f"{each['seconds']:.0f} | {each['mb']:,.0f}" for each in took]
        print(f"| {rows // HOURS * HOURS:,} | {' | '.join(told)} |", flush=True)


def _measured(step: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.monitoring", "--one", step]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(ran.stdout.splitlines()[-1]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[12_000, 120_000, 1_000_000])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one)
    else:
        main(given.sizes)
