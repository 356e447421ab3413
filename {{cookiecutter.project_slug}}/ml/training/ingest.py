"""Step 1: read the window's partitions from the source, each day alone, into one table of raw records."""

from datetime import date
from pathlib import Path

import pandas as pd

from ml.errors import ContractError
from ml.features.rows import records_of
from ml.problem import source
from ml.progress import say, track
from ml.store import files


def ingest(lake: str, since: date, until: date, records: Path) -> None:
    """Write the raw records of all days from `since` to `until`; raises ContractError when a day is absent."""
    publish(lake)
    wanted = [day.date() for day in pd.date_range(since, until)]
    if not wanted:
        raise ContractError(
            "data", f"the window ends on {until}, before it begins on {since}", "Edit [data] in project.toml"
        )
    table = records_of(lake, wanted)
    files.write(str(records), table.to_parquet(index=False))
    say("ingest", f"read {len(wanted)} days from {lake}, wrote {len(table):,} records")


def publish(lake: str) -> None:
    """Let the source write the partitions that are not there yet."""
    for _ in track(source.publish(lake), "publishing days"):
        pass
