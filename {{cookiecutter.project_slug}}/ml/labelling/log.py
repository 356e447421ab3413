"""The event log by local days of prediction, each with its outcomes, where all of it is too much for memory.

An outcome may come weeks after its prediction, and names it alone. So predictions are put apart by their day, and
outcomes by a digit of the request; then, digit by digit, outcomes go to the day of their prediction.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.contract.events import OUTCOMES, PREDICTIONS
from ml.contract.framing import framing
from ml.eventlog import segments
from ml.eventlog.read import by_hour, frame
from ml.eventlog.spill import Spill
from ml.features import calendar

REQUEST = "request_id"
NOBODY = pa.schema([(REQUEST, pa.string()), ("day", pa.string())]).empty_table()


class Log:
    """This environment's events; what does not fit into memory lies in a folder.

    `newest` is when the last event was, None where there is none; `unmatched` counts requests that have an outcome and
    no prediction.
    """

    def __init__(self, folder: Path) -> None:
        self.newest: datetime | None = None
        self.unmatched = 0
        self._predictions, requests = Spill(folder / "predictions"), Spill(folder / "requests")
        for rows in self._events(PREDICTIONS):
            days = _days(rows)
            self._predictions.add(rows, days)
            requests.add(pa.table({REQUEST: rows[REQUEST], "day": days}), _digits(rows))
        came, self._outcomes = Spill(folder / "came"), Spill(folder / "outcomes")
        for rows in self._events(OUTCOMES):
            came.add(rows, _digits(rows))
        for digit in came.keys:
            rows = segments.together(came.of(digit))
            known = segments.together([NOBODY, *requests.of(digit)])
            days = known["day"].take(pc.index_in(rows[REQUEST], known[REQUEST].combine_chunks()))
            self.unmatched += len(pc.unique(rows[REQUEST].filter(pc.is_null(days))))
            self._outcomes.add(rows, days)

    @property
    def days(self) -> list[str]:
        """The local days of which there are predictions, ISO 8601, in order."""
        return self._predictions.keys

    def of(self, day: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the predictions of a day, and all outcomes that name one of them."""
        return frame(PREDICTIONS, self._predictions.of(day)), frame(OUTCOMES, self._outcomes.of(day))

    def _events(self, table: str) -> Iterator[pa.Table]:
        for rows in by_hour(table):
            newest = pc.max(rows["time"]).as_py()
            self.newest = max(filter(None, (newest, self.newest)), default=None)
            yield rows


def _days(rows: pa.Table) -> pa.Array:
    """Return the local day of each row, ISO 8601."""
    times = rows["time"].to_numpy().astype("datetime64[s]")
    return pa.array(calendar.local(times, framing().time.timezone).astype("datetime64[D]").astype(str))


def _digits(rows: pa.Table) -> pa.Array:
    return pc.utf8_slice_codeunits(rows[REQUEST], 0, 1)
