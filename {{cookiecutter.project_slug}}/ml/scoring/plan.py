"""What a run scores, with which bundle and as of when: all that determines its result, and so its name."""

import hashlib
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from functools import cached_property
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from ml.contract.clock import Clock
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.scoring import reading, scan
from ml.store import files, partitions

FILE = "_plan.json"  # who reads a folder of Parquet files passes over what begins like this


class Part(NamedTuple):
    """Consecutive records of one day whose scores lie in one file: the `number`-th `chunk_rows` of the day."""

    day: date
    number: int
    rows: int

    @property
    def name(self) -> str:
        """Where its scores lie below the run's folder."""
        return f"day={self.day}/part-{self.number:05}.parquet"


class Partition(NamedTuple):
    """A day's records: how many, and the state of their file."""

    rows: int
    state: str


class Plan(BaseModel):
    """One run: partitions of records, the lake of what was known meanwhile, the bundle, and as of when at the latest.

    `as_of` is None where every prediction was due before the run: each record is scored as of that moment then.
    """

    model_config = ConfigDict(frozen=True)

    bundle: str
    records: str
    lake: str
    as_of: datetime | None
    chunk_rows: int
    days: dict[date, Partition]

    @cached_property
    def run(self) -> str:
        """The run's name: a hash of all that determines it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def rows(self) -> int:
        """How many records there are."""
        return sum(partition.rows for partition in self.days.values())

    def parts(self, days: Sequence[date] | None = None) -> list[Part]:
        """Return the parts of some days, or of all, in order."""
        return [
            Part(day, number, min(self.chunk_rows, self.days[day].rows - begin))
            for day in sorted(days if days is not None else self.days)
            for number, begin in enumerate(range(0, self.days[day].rows, self.chunk_rows))
        ]

    def shard(self, number: int, of: int) -> list[date]:
        """Return the days of one of several shards: days in a row, since a join of neighbours reads fewer events."""
        days = sorted(self.days)
        return days[number * len(days) // of : (number + 1) * len(days) // of]


def plan(
    bundle: str, records: str, lake: str, since: date, until: date, as_of: datetime | None, chunk_rows: int
) -> Plan:
    """Look at the partitions of all days from `since` to `until` and return the plan; nothing is scored yet.

    Raises ContractError where a day is absent, or its columns are not the schema's.
    """
    wanted = [since + timedelta(days=ahead) for ahead in range((until - since).days + 1)]
    if not wanted:
        raise ContractError("data", f"{until} is before {since}", "Give --since and --until in order")
    if absent := sorted(set(wanted) - set(partitions.days(records))):
        broken = f"{records} has no partition of {absent[0]} ({len(absent)} days absent)"
        raise ContractError("data", broken, "Give --from, --since and --until")
    days = {}
    for day in wanted:
        url = partitions.place(records, day)
        rows, columns = reading.footer(url)
        scan.refuse_other_types(url, columns)
        days[day] = Partition(rows, files.state(url))
    bound = _bound(until, as_of)
    return Plan(bundle=bundle, records=records, lake=lake, as_of=bound, chunk_rows=chunk_rows, days=days)


def _bound(until: date, as_of: datetime | None) -> datetime | None:
    """Return the moment up to which things may be known, by default the last full hour; None where it bounds nothing.

    A run that was killed has its name again within the hour.
    """
    moment = as_of or Clock("wall").now().replace(minute=0, second=0, microsecond=0)
    end = datetime.combine(until + timedelta(days=1), time(), ZoneInfo(framing().time.timezone))
    return None if moment >= end else moment


def folder(scores: str, run: str) -> str:
    """Return where the scores of a run lie."""
    return files.join(scores, run)


def save(scores: str, planned: Plan) -> None:
    """Write a plan into its run's folder: its records may be scored."""
    files.write(files.join(folder(scores, planned.run), FILE), planned.model_dump_json().encode())


def load(scores: str, run: str) -> Plan | None:
    """Return the plan of a run, None where none was saved."""
    try:
        return Plan.model_validate_json(files.read(files.join(folder(scores, run), FILE)))
    except FileNotFoundError:
        return None
