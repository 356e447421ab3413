"""One scheduled flight, as it is known two hours before departure, and what happens at airports meanwhile.

The only place where a column is described.
"""

from datetime import UTC, datetime
from typing import Annotated

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from ml.features.definition import Array, Columns, Event

FIRST_AIRLINES, FAR_AHEAD = datetime(1930, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

Carrier = Annotated[str, Field(pattern=r"^[A-Z0-9]{2}$")]
Airport = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Words = Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,80}$")]

EXAMPLE: JsonDict = {
    "carrier": "UA",
    "flight": 1545,
    "origin": "EWR",
    "dest": "IAH",
    "scheduled_departure": "2013-04-01T05:15:00-04:00",
    "scheduled_minutes": 244,
    "distance": 1400,
    "tailnum": "N14228",
    "aircraft_built": 1999,
    "aircraft_manufacturer": "BOEING",
    "aircraft_model": "737-824",
    "aircraft_engine": "Turbo-fan",
    "aircraft_engines": 2,
    "aircraft_seats": 149,
}


class Flight(BaseModel):
    """One scheduled flight; optional fields may be null or absent."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"example": EXAMPLE})

    carrier: Annotated[Carrier, Field(description="IATA code of the airline")]
    flight: Annotated[int, Field(ge=1, le=9999, description="flight number")]
    origin: Annotated[Airport, Field(description="IATA code of the airport of departure")]
    dest: Annotated[Airport, Field(description="IATA code of the airport of arrival")]
    scheduled_departure: Annotated[
        AwareDatetime, Field(ge=FIRST_AIRLINES, le=FAR_AHEAD, description="with offset from UTC")
    ]
    scheduled_minutes: Annotated[int, Field(ge=15, le=1200, description="scheduled departure to arrival")]
    distance: Annotated[int, Field(ge=10, le=10000, description="miles")]
    tailnum: Annotated[Words | None, Field(description="aircraft planned: the one that last flew this number")] = None
    aircraft_built: Annotated[int | None, Field(ge=1930, le=2100, description="year")] = None
    aircraft_manufacturer: Words | None = None
    aircraft_model: Words | None = None
    aircraft_engine: Annotated[Words | None, Field(description="kind of engine")] = None
    aircraft_engines: Annotated[int | None, Field(ge=1, le=8)] = None
    aircraft_seats: Annotated[int | None, Field(ge=1, le=900)] = None


class Departure(Event):
    """A flight left at `time`; one that was cancelled has no delay, and the time of its schedule."""

    origin: Airport
    carrier: Carrier
    delay: Annotated[float | None, Field(ge=-720, le=2880, description="minutes after schedule")] = None


class Arrival(Event):
    """A flight arrived at `time`."""

    tailnum: Words
    delay: Annotated[float, Field(ge=-720, le=2880, description="minutes after schedule")]


class Weather(Event):
    """The weather at an airport was observed at `time`."""

    origin: Airport
    temperature: Annotated[float | None, Field(ge=-80, le=140, description="degrees Fahrenheit")] = None
    humidity: Annotated[float | None, Field(ge=0, le=100, description="per cent")] = None
    wind_speed: Annotated[float | None, Field(ge=0, le=250, description="miles an hour")] = None
    precipitation: Annotated[float | None, Field(ge=0, le=20, description="inches in an hour")] = None
    visibility: Annotated[float | None, Field(ge=0, le=20, description="miles")] = None


Record = Flight
EVENTS = (Departure, Arrival, Weather)
KEY = ("carrier", "flight", "origin", "dest", "scheduled_departure")
PERSONAL: dict[str, str] = {}  # what the event log may hold of a field that names a person: "hash" or "drop"

TWO_HOURS = np.timedelta64(120, "m")
AN_HOUR = np.timedelta64(60, "m")


def predicted_at(flights: Columns) -> Array:
    """Return when each prediction is made, UTC: two hours before scheduled departure."""
    departure: Array = flights["scheduled_departure"]
    return departure - TWO_HOURS


def known_at(flights: Columns) -> Array:
    """Return when each outcome is known, UTC: an hour after scheduled arrival nobody can be less late."""
    departure, minutes = flights["scheduled_departure"], flights["scheduled_minutes"]
    arrival: Array = departure + minutes.astype("timedelta64[m]")
    return arrival + AN_HOUR
