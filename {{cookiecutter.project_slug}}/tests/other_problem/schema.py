"""One examination of a breast mass, as the microscope's software measures it: numbers only."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ml.features.definition import Columns

Length = Annotated[float, Field(ge=0, le=1000, description="in the image's units")]
Area = Annotated[float, Field(ge=0, le=10000)]
Share = Annotated[float, Field(ge=0, le=5)]

EXAMPLE = {
    "examination": 1,
    "examined_at": "2024-01-08T08:00:00-06:00",
    "mean_radius": 13.5,
    "mean_texture": 14.4,
    "mean_perimeter": 87.5,
    "mean_area": 566.3,
    "mean_smoothness": 0.098,
    "mean_concavity": 0.067,
    "mean_symmetry": 0.189,
    "worst_radius": 15.1,
    "worst_texture": 19.3,
    "worst_perimeter": 99.7,
    "worst_area": 711.2,
    "worst_smoothness": 0.144,
    "worst_concavity": 0.239,
    "worst_symmetry": 0.298,
}


class Examination(BaseModel):
    """Means over the cell nuclei of one sample, and the means of its three largest values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"example": EXAMPLE})

    examination: Annotated[int, Field(ge=1, description="running number")]
    examined_at: Annotated[AwareDatetime, Field(description="with offset from UTC")]
    mean_radius: Length
    mean_texture: Length
    mean_perimeter: Length
    mean_area: Area
    mean_smoothness: Share
    mean_concavity: Share | None = None
    mean_symmetry: Share
    worst_radius: Length
    worst_texture: Length
    worst_perimeter: Length
    worst_area: Area
    worst_smoothness: Share
    worst_concavity: Share | None = None
    worst_symmetry: Share


Record = Examination
EVENTS = ()
KEY = ("examination",)
PERSONAL = {"examination": "hash", "mean_symmetry": "drop"}  # whose it is, and what the model alone may know

A_DAY = np.timedelta64(1, "D")


def predicted_at(examinations: Columns) -> NDArray[np.datetime64]:
    """Return when each prediction is made, UTC: as soon as the sample is measured."""
    return examinations["examined_at"].astype("datetime64[s]")


def known_at(examinations: Columns) -> NDArray[np.datetime64]:
    """Return when each outcome is known, UTC: the laboratory answers a day later."""
    return examinations["examined_at"].astype("datetime64[s]") + A_DAY
