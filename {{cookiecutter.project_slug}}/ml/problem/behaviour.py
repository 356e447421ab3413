"""What every model of flights must do, whatever it has learned: the gate tries it on real records."""

import numpy as np

from ml.features import calendar
from ml.features.definition import Array, Columns
from ml.models.behaviour import behaviour
from ml.problem.features import NEW_YORK


@behaviour("same")
def flight_number(flights: Columns) -> tuple[Columns, Columns]:
    """The number painted on the ticket changes nothing."""
    return flights, {**flights, "flight": flights["flight"] % 9999 + 1}


@behaviour("higher")
def evening(flights: Columns) -> tuple[Columns, Columns]:
    """Leaving at seven in the evening is riskier than at seven in the morning: delays build up over the day."""
    return _at(flights, 7), _at(flights, 19)


def _at(flights: Columns, hour: int) -> Columns:
    """Return the flights, leaving at an hour of the same local day."""
    departure: Array = flights["scheduled_departure"]
    minutes = calendar.minute_of_day(calendar.local(departure, NEW_YORK))
    moved = departure + (hour * 60 - minutes).astype("timedelta64[m]").astype(departure.dtype.str.replace("M", "m"))
    return {**flights, "scheduled_departure": np.asarray(moved)}


BEHAVIOURS = (flight_number, evening)
