"""The model's inputs: pure functions of one flight, the same for training and for serving.

Nothing here may use what is not yet known two hours before departure. What comes from a stream, such as the
newest weather or recent delays at the airport, joins this list as windowed features.
"""

from ml.features import calendar
from ml.features.definition import Array, Columns, column, row_feature

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


FEATURES = (
    departure_minute,
    departure_weekday,
    aircraft_age,
    column("scheduled_minutes", "number", "Minutes from scheduled departure to scheduled arrival."),
    column("distance", "number", "Miles to the destination."),
    column("aircraft_seats", "number", "Seats of the aircraft."),
    column("aircraft_engines", "number", "Number of engines."),
    column("carrier", "category", "Airline."),
    column("origin", "category", "Airport of departure."),
    column("dest", "category", "Airport of arrival: a hundred of them."),
    column("tailnum", "category", "Aircraft: four thousand of them."),
    column("aircraft_manufacturer", "category", "Who built the aircraft."),
    column("aircraft_model", "category", "Model of the aircraft."),
    column("aircraft_engine", "category", "Kind of engine."),
)
