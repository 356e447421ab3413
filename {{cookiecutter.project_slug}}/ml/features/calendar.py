"""Local calendar facts of UTC moments, for whole columns at once and right through daylight-saving changes."""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.datetime64]


@lru_cache(maxsize=200_000)
def _offset(hour: int, zone: str) -> int:
    """Return the zone's offset from UTC, in minutes, for one hour since the epoch."""
    offset = datetime.fromtimestamp(hour * 3600, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    return int(offset.total_seconds()) // 60 if offset else 0


def local(times: Times, zone: str) -> Times:
    """Return UTC `times` as local wall-clock times of `zone`, to the minute; offsets change on whole hours."""
    hours = times.astype("datetime64[h]").astype(np.int64).tolist()
    offsets = np.array([_offset(hour, zone) for hour in hours], dtype="timedelta64[m]")
    return np.asarray(times.astype("datetime64[m]") + offsets)


def minute_of_day(times: Times) -> NDArray[np.float64]:
    """Return minutes since midnight, 0 to 1439."""
    return np.asarray((times - times.astype("datetime64[D]")).astype("timedelta64[m]"), dtype=np.float64)


def weekday(times: Times) -> NDArray[np.float64]:
    """Return the day of the week, Monday 0 to Sunday 6."""
    return (times.astype("datetime64[D]").astype(np.int64) + 3).astype(np.float64) % 7
