"""How fast batch scoring is beside the model itself, and how it grows: at 1, 3 and 10 times the records a day.

Run it in the project's environment with `python -m benchmarks.batch_scoring --bundle DIGEST`; it prints a Markdown
table. Real days are repeated under other keys, their times moved by seconds; the events stay those of the lake. In
turns, each in a process of its own and with the same chunks:

- `in process`: the records are in memory; the features, windowed ones too, and the scores of a chunk after the other;
- `in process, no join`: the same with the windowed features in memory, too, as for a problem that has none;
- `files`: `ml score` from partitions to files, with its checks and its names;
- `files and LMDB`, `files and Redis`: the same, and into an online store with the switch.

Seconds are those of the work, without the start of Python and without Great Expectations on the sample, which takes
a few seconds whatever is scored. Memory is the peak of the process less what it had imported before.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from benchmarks.memory import peak
from benchmarks.online_store import redis_server
from ml.contract import bundle as bundles
from ml.contract import schema
from ml.features.definition import Columns
from ml.features.fold import Whole
from ml.features.history import History
from ml.features.table import columns_of_frame, inputs
from ml.problem import source
from ml.problem.schema import KEY, predicted_at
from ml.scoring.plan import Plan, plan, save
from ml.scoring.reading import chunks
from ml.scoring.run import score, score_and_publish
from ml.settings import ROOT, settings
from ml.store import partitions


def replicate(lake: str, days: list[date], times: int, target: Path) -> None:
    """Write some days of records so many times over, each copy some seconds later than the one before."""
    moved = [column.name for column in schema.columns() if column.kind == "time" and column.name in KEY]
    for day in days:
        records = source.read(lake, day)
        copies = [
            records.assign(**{name: records[name] + pd.Timedelta(copy, "s") for name in moved}) for copy in range(times)
        ]
        partitions.write(str(target), day, pd.concat(copies, ignore_index=True))


def in_process(run: Plan, scores: Path, online: str) -> float:
    """Join and score records that are in memory and return the seconds."""
    model, history = bundles.load(settings().store_url, run.bundle), History(run.lake)
    frames = [pd.concat([table.to_pandas() for _, table in chunk]) for chunk in chunks(run, run.parts())]
    began = time.perf_counter()
    for frame in frames:
        columns = columns_of_frame(frame)
        model.scorer.score(inputs(columns | history.join(columns, _due(columns))))
    return time.perf_counter() - began


def without_join(run: Plan, scores: Path, online: str) -> float:
    """Score records that are in memory with what was known of them and return the seconds."""
    model, history = bundles.load(settings().store_url, run.bundle), History(run.lake)
    frames = [pd.concat([table.to_pandas() for _, table in chunk]) for chunk in chunks(run, run.parts())]
    frames = [frame.assign(**history.join(own := columns_of_frame(frame), _due(own))) for frame in frames]
    began = time.perf_counter()
    for frame in frames:
        model.scorer.score(inputs(columns_of_frame(frame)))
    return time.perf_counter() - began


def _due(columns: Columns) -> Whole:
    return predicted_at(columns).astype("datetime64[s]").astype(np.int64)


def to_files(run: Plan, scores: Path, online: str) -> float:
    """Score partitions into files, and into the store at `online` where there is one; return the seconds."""
    began, store = time.perf_counter(), settings().store_url
    if online:
        score_and_publish(run.run, store, str(scores), online, 1)
    else:
        score(run.run, store, str(scores))
    return time.perf_counter() - began


WAYS: dict[str, Callable[[Plan, Path, str], float]] = {
    "in process": in_process,
    "in process, no join": without_join,
    "files": to_files,
    "files and LMDB": to_files,
    "files and Redis": to_files,
}


def measure(way: str, records: Path, days: list[date], digest: str, redis: str) -> dict[str, float]:
    """Return the records, seconds and peak megabytes of one way, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        online = {"files and LMDB": f"{folder}/online", "files and Redis": redis}.get(way, "")
        asked = [way, str(records), str(days[0]), str(days[-1]), digest, folder, online]
        command = [sys.executable, "-m", "benchmarks.batch_scoring", "--one", json.dumps(asked)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(ran.stdout.splitlines()[-1]))


def one(way: str, records: str, since: str, until: str, digest: str, folder: str, online: str) -> None:
    """Do one way and print what it took."""
    conf, days = settings(), (date.fromisoformat(since), date.fromisoformat(until))
    run = plan(digest, records, conf.lake_url, *days, None, conf.score.chunk_rows)
    save(str(Path(folder) / "scores"), run)
    before = peak()
    seconds = WAYS[way](run, Path(folder) / "scores", online)
    print(json.dumps({"records": run.rows, "seconds": seconds, "mb": peak() - before}))


def main(digest: str, since: date, number: int, rounds: int) -> None:
    """Print the table."""
    print("| records | way | records/s | of the rate in process | MB |\n|--:|---|--:|--:|--:|")
    days = [since + timedelta(days=ahead) for ahead in range(number)]
    for times in (1, 3, 10):
        with tempfile.TemporaryDirectory() as folder, redis_server() as port:
            records = Path(folder) / "records"
            replicate(settings().lake_url, days, times, records)
            found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for turn in range(rounds):
                for way, own in found.items():
                    own.append(measure(way, records, days, digest, f"redis://127.0.0.1:{port}/{turn}"))
            base = [each["records"] / each["seconds"] for each in found["in process"]]
            for way, own in found.items():
                rates = [each["records"] / each["seconds"] for each in own]
                ratio = median(rate / bare for rate, bare in zip(rates, base, strict=True))
                cells = f"{own[0]['records']:,} | {way} | {median(rates):,.0f} | {ratio:.2f}"
                print(f"| {cells} | {median(each['mb'] for each in own):,.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", help="digest of the bundle, or its beginning; by default the newest")
    parser.add_argument("--since", type=date.fromisoformat, help="first of the days; by default the fifth of the lake")
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(*json.loads(given.one))
    else:
        first = given.since or source.days(settings().lake_url)[4]
        main(bundles.resolve(settings().store_url, given.bundle), first, given.days, given.rounds)
