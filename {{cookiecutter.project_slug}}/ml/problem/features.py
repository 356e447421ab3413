"""The model's inputs: pure functions of one flight, and folds over what happened before, alike in training and serving.

Nothing here may use what is not yet known two hours before departure: of events the feature store sees to that.
"""

import numpy as np

from ml.features import calendar
from ml.features.definition import Array, Columns, column, row_feature, windowed
from ml.problem.schema import Arrival, Departure, Weather

NEW_YORK = "America/New_York"  # all three airports of departure


@row_feature("number", calendar=True)
def departure_minute(flight: Columns) -> Array:
    """Minute of the local day at which the flight is scheduled to leave: delays build up until evening."""
    return calendar.minute_of_day(calendar.local(flight["scheduled_departure"], NEW_YORK))


@row_feature("number", calendar=True)
def departure_weekday(flight: Columns) -> Array:
    """Local day of the week, Monday 0."""
    return calendar.weekday(calendar.local(flight["scheduled_departure"], NEW_YORK))


@row_feature("number")
def aircraft_age(flight: Columns) -> Array:
    """Years since the aircraft was built."""
    year: Array = flight["scheduled_departure"].astype("datetime64[Y]").astype(int) + 1970
    return year - flight["aircraft_built"]


def late(departures: Columns) -> Array:
    """Return 1 where a flight left a quarter of an hour late or not at all, else 0."""
    delay: Array = departures["delay"]
    return np.isnan(delay) | (delay >= 15)


FEATURES = (
    departure_minute,
    departure_weekday,
    aircraft_age,
    column("scheduled_minutes", "number", "Minutes from scheduled departure to scheduled arrival."),
    column("distance", "number", "Miles to the destination."),
    column("aircraft_seats", "number", "Seats of the aircraft."),
    column("aircraft_engines", "number", "Number of engines."),
    *(
        windowed(
            f"{entity}_late_{hours}h",
            f"Share of departures of the last {hours} h that left late or not at all, {whose}.",
            events=Departure,
            entity=entity,
            value=late,
            how="mean",
            hours=hours,
            bounds=(0, 1),
        )
        for entity, whose in (("origin", "at this airport"), ("carrier", "of this airline"))
        for hours in (1, 3, 24)
    ),
    windowed(
        "aircraft_arrival_delay",
        "Minutes by which the aircraft's last flight out of here arrived late.",
        events=Arrival,
        entity="tailnum",
        value="delay",
        how="last",
        hours=24,
    ),
    windowed(
        "aircraft_hours_since_arrival",
        "Hours since the aircraft's last flight out of here arrived.",
        events=Arrival,
        entity="tailnum",
        how="age",
        hours=48,
    ),
    *(
        windowed(
            name,
            f"{sentence}, by the newest observation at the airport.",
            events=Weather,
            entity="origin",
            value=name,
            how="last",
            hours=6,
        )
        for name, sentence in (
            ("wind_speed", "Miles an hour of wind"),
            ("visibility", "Miles one can see"),
            ("precipitation", "Inches of rain or snow in an hour"),
            ("temperature", "Degrees Fahrenheit"),
            ("humidity", "Per cent of relative humidity"),
        )
    ),
    column("carrier", "category", "Airline."),
    column("origin", "category", "Airport of departure."),
    column("dest", "category", "Airport of arrival: a hundred of them."),
    column("tailnum", "category", "Aircraft: four thousand of them."),
    column("aircraft_manufacturer", "category", "Who built the aircraft."),
    column("aircraft_model", "category", "Model of the aircraft."),
    column("aircraft_engine", "category", "Kind of engine."),
)
