"""Rows of the event log become profiles: split by bundle, arm and local hour, and written as parts of a batch."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ml.contract.events import FEATURES
from ml.contract.framing import framing
from ml.contract.profile import Column, Profiler
from ml.features import calendar
from ml.features.table import MISSING, SCORE
from ml.monitoring import profile_files
from ml.monitoring.profile_files import APART, FORM, SUFFIX, Part, Place
from ml.store import files

OPEN = 32  # places in memory at once, a megabyte or two each; in simulated time a minute can hold a week
WHOSE = ("bundle", "arm")


class Writer:
    """Writes the parts of one batch, of a log that has reached a local hour; counts rows it was given and parts."""

    def __init__(self, url: str, batch: str, newest: np.datetime64) -> None:
        self._url, self._batch, self._newest = url, batch, newest
        self._growing: dict[Place, Profiler] = {}  # that which last grew is the last
        self.rows = self.parts = 0

    def add(self, rows: pa.Table) -> None:
        """Take in rows of the event log: bundle, arm, time, score and features."""
        self.rows += len(rows)
        profiled = [name for name in rows.column_names if name == SCORE or name.startswith(FEATURES)]
        for place, own in _split(rows, self._newest):
            profiler = self._growing.pop(place, None) or Profiler()
            profiler.add({name.removeprefix(FEATURES): _column(own[name]) for name in profiled})
            self._growing[place] = profiler
            if len(self._growing) > OPEN:
                self._write(next(iter(self._growing)))

    def close(self, segments: Iterable[str]) -> None:
        """Write what is left, and let the batch count as that of some segments."""
        for place in list(self._growing):
            self._write(place)
        profile_files.count(self._url, self._batch, segments)

    def _write(self, place: Place) -> None:
        part = Part(place, f"{self._batch}.{self.parts}{SUFFIX}")
        files.write(part.url(self._url), self._growing.pop(place).profile().dump())
        self.parts += 1


def hours(rows: pa.Table) -> NDArray[np.datetime64]:
    """Return the local hour of each row."""
    times = rows["time"].to_numpy().astype("datetime64[s]")
    return calendar.local(times, framing().time.timezone).astype("datetime64[h]").astype("datetime64[s]")


def _split(rows: pa.Table, newest: np.datetime64) -> Iterator[tuple[Place, pa.Table]]:
    """Yield the rows of each place, as it is once the log has reached `newest`."""
    told = hours(rows)
    days = told.astype("datetime64[D]").astype(told.dtype)
    whose = pd.DataFrame({name: pc.fill_null(rows[name], "").to_numpy() for name in WHOSE})
    over = np.asarray(newest - told >= np.timedelta64(APART))
    whose = whose.assign(begin=np.where(over, days, told), day=over)
    for key, own in whose.groupby([*WHOSE, "begin", "day"]).indices.items():
        bundle, arm, begin, day = cast(tuple[str, str, datetime, bool], key)
        place = Place(bundle, arm, begin.strftime(FORM.partition("T")[0] if day else FORM))
        yield place, rows if len(own) == len(rows) else rows.take(own)


def _column(values: pa.ChunkedArray) -> Column:
    if not pa.types.is_string(values.type):
        return np.asarray(values.to_numpy())
    coded = values.combine_chunks().dictionary_encode()  # so that a text that comes again is made once
    texts = coded.dictionary.to_numpy(zero_copy_only=False)[coded.indices.drop_null().to_numpy()]
    return texts[texts != MISSING].tolist(), len(values)
