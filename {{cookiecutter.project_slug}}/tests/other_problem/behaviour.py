"""What every model of masses must do, whatever it has learned."""

from ml.features.definition import Columns
from ml.models.behaviour import behaviour


@behaviour("same")
def running_number(examinations: Columns) -> tuple[Columns, Columns]:
    """The number of the examination says nothing about the mass."""
    return examinations, {**examinations, "examination": examinations["examination"] + 1000}


@behaviour("higher")
def smooth(examinations: Columns) -> tuple[Columns, Columns]:
    """A less dented contour is more likely to be benign."""
    return examinations, {**examinations, "worst_concavity": examinations["worst_concavity"] / 2}


BEHAVIOURS = (running_number, smooth)
