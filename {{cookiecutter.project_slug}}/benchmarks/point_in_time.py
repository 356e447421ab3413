"""How the point-in-time join grows: records per second and peak memory at 1, 3, 10 and 30 times the records a day.

Run it in the project's environment with `python -m benchmarks.point_in_time`; it prints a Markdown table. The lake is
replicated so many times, each replica with entities of its own. In turns, each in a process of its own, the join makes
every windowed feature of some weeks of records; and, as the limit, DuckDB joins as many columns by a bare ASOF join
from the same Parquet files: it has no windows, no freshness limits, no duplicates and no late events to care for.
Memory is the peak of the process less what it had imported before.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from statistics import median

import duckdb
import pandas as pd

from benchmarks.memory import peak
from ml.features.definition import kind_of
from ml.features.rows import by_week
from ml.features.table import GROUPS, WINDOWED, columns_of_frame
from ml.problem import schema, source
from ml.settings import ROOT, settings
from ml.store import partitions

BEFORE = 3  # days of events before the first record


def replicate(lake: str, days: list[date], times: int, target: Path) -> None:
    """Write some days of a lake so many times over, with the events before them, and when each prediction is due."""
    names = {field for group in GROUPS for field in group.entity}
    for day in days:
        records = _copies(source.read(lake, day), names, times)
        partitions.write(str(target), day, records)
        due = schema.predicted_at(columns_of_frame(records))
        partitions.write(str(target / "asked"), day, records[[*names]].assign(due=due))
    around = [days[0] + timedelta(days=ahead) for ahead in range(-BEFORE, len(days) + 1)]
    for group in GROUPS:
        kind = kind_of(group.events)
        for day in around:
            events = _copies(source.read_events(lake, kind, day), {*names, "id"}, times)
            partitions.write(str(target / "events" / kind), day, events)


def _copies(frame: pd.DataFrame, names: set[str], times: int) -> pd.DataFrame:
    own = [name for name in frame if name in names]
    copies = [frame.assign(**{name: frame[name] + f"~{copy}" for name in own}) for copy in range(times)]
    return pd.concat(copies, ignore_index=True)


def ours(lake: str, days: Iterable[date]) -> int:
    """Make every windowed feature of the days' records and return how many records there were."""
    return sum(len(week) for week in by_week(lake, days))


def bare(lake: str, _: Iterable[date]) -> int:
    """Join a column a feature by DuckDB alone, all days at once, and return how many records there were."""
    with duckdb.connect(":memory:", config={"threads": 1}) as engine:
        engine.execute(f"CREATE TABLE asked AS FROM read_parquet('{lake}/asked/*.parquet')")
        for group in GROUPS:
            same = " AND ".join(f"asked.{field} = events.{field}" for field in group.entity)
            folder = f"{lake}/events/{kind_of(group.events)}"
            engine.execute(f"CREATE OR REPLACE TABLE events AS FROM read_parquet('{folder}/*.parquet')")
            for _feature in group.features:
                joined = f"asked ASOF JOIN events ON {same} AND asked.due >= events.available_at"
                engine.execute(f"SELECT events.time FROM {joined}").fetchnumpy()
        return int(engine.execute("SELECT count(*) FROM asked").fetchall()[0][0])


WAYS = {"ours": ours, "bare": bare}


def measure(way: str, lake: str, days: list[date]) -> dict[str, float]:
    """Return the records, seconds and peak megabytes of one way, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.point_in_time", "--measure", way, lake, str(days[0]), str(len(days))]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(ran.stdout))


def _measured(way: str, lake: str, first: str, count: str) -> None:
    days = [date.fromisoformat(first) + timedelta(days=ahead) for ahead in range(int(count))]
    before, began = peak(), time.perf_counter()
    records = WAYS[way](lake, days)
    seconds = time.perf_counter() - began
    print(json.dumps({"records": records, "seconds": seconds, "megabytes": peak() - before}))


def row(name: str, lake: str, days: list[date], rounds: int) -> str:
    """Measure both ways in turns and return a line of the table: medians, and the ratio of their times."""
    found = [{way: measure(way, lake, days) for way in WAYS} for _ in range(rounds)]
    own = {key: median(each["ours"][key] for each in found) for key in ("records", "seconds", "megabytes")}
    limit = {key: median(each["bare"][key] for each in found) for key in ("seconds", "megabytes")}
    slower = median(each["ours"]["seconds"] / each["bare"]["seconds"] for each in found)
    return (
        f"| {name} | {own['records']:,.0f} | {own['records'] / own['seconds']:,.0f} | {own['megabytes']:.0f} "
        f"| {own['records'] / limit['seconds']:,.0f} | {limit['megabytes']:.0f} | {slower:.1f} |"
    )


def main(lake: str, weeks: int, rounds: int, times: list[int]) -> None:
    """Print the table."""
    first = source.days(lake)[0] + timedelta(days=BEFORE)
    days = [first + timedelta(days=ahead) for ahead in range(7 * weeks)]
    print(f"{len(WINDOWED)} windowed features; medians of {rounds} rounds\n")
    print("| lake | records | records/s | MB | bare join, records/s | MB | times its seconds |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for many in times:
        with tempfile.TemporaryDirectory() as folder:
            replicate(lake, days, many, Path(folder))
            print(row(f"{many}x, {weeks} weeks", folder, days, rounds), flush=True)
    longer = [first + timedelta(days=ahead) for ahead in range(7 * weeks * 8)]
    with tempfile.TemporaryDirectory() as folder:
        replicate(lake, longer, 1, Path(folder))
        print(row(f"1x, {weeks * 8} weeks", folder, longer, rounds), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        _measured(*sys.argv[2:])
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--weeks", type=int, default=4)
        parser.add_argument("--rounds", type=int, default=3)
        parser.add_argument("--times", type=int, nargs="*", default=[1, 3, 10, 30])
        given = parser.parse_args()
        main(settings().lake_url, given.weeks, given.rounds, given.times)
