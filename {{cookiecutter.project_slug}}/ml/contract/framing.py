"""The framing of the problem, ml/problem/framing.toml, as code reads it: decision, costs, time, limits."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

import ml.problem
from ml.errors import ContractError

FILE = "ml/problem/framing.toml"


class Table(BaseModel):
    """One table of the framing; a key that nothing reads is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Decision(Table):
    """What is decided, by whom, and what it is worth."""

    question: str
    users: str
    action: str
    business_metric: str


class Task(Table):
    """The machine-learning task: what is predicted and by which metric rungs are compared."""

    kind: Literal["binary-classification"]
    positive: str
    metric: Literal["log_loss", "brier"]
    margin: float = Field(ge=0, description="the simplest rung within this of the best is chosen")


class Cost(Table):
    """What each error costs, in any one unit; only the ratio matters."""

    false_alarm: float = Field(gt=0)
    miss: float = Field(gt=0)

    @property
    def threshold(self) -> float:
        """The score from which acting is cheaper than not acting (Elkan 2001, equation 2), in 0..1."""
        return self.false_alarm / (self.false_alarm + self.miss)


class Time(Table):
    """The calendar of days, and how the training window is cut: fit, then validation, then test."""

    timezone: str
    validation_days: int = Field(ge=1)
    test_days: int = Field(ge=1)

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError) as error:
            raise ValueError(f"no time zone is called {name!r}") from error
        return name


class DataLimits(Table):
    """What every window of raw data has to hold."""

    rows_per_day: int = Field(ge=1)
    freshness_days: int = Field(ge=0, description="age of the newest record at the window's end")


class Leak(Table):
    """From where on a feature is too good to be known before the outcome."""

    single_feature_auc: float = Field(gt=0.5, le=1)
    missing_purity: float = Field(gt=0, le=1, description="how far a class may vanish where a value is missing")


class Alarm(Table):
    """When the monitor alarms: by how many windows of the reference months, and how far inputs may move."""

    false_alarm_rate: float = Field(gt=0, lt=0.05)
    block_days: int = Field(ge=1, description="days that are resampled together: good and bad days come in runs")
    drift_floor: float = Field(ge=0, le=1, description="Jensen-Shannon distance that nobody would act on")


class Framing(Table):
    """The whole framing."""

    decision: Decision
    task: Task
    cost: Cost
    time: Time
    data: DataLimits
    leak: Leak
    alarm: Alarm


@cache
def framing() -> Framing:
    """Read the framing; raises ContractError with the key and the reason."""
    file = Path(ml.problem.__file__).parent / "framing.toml"
    try:
        return Framing.model_validate(tomllib.loads(file.read_text()))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ContractError("framing", str(error), f"Edit {FILE}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ContractError("framing", f"{key}: {first['msg']}, not {first['input']!r}", f"Edit {FILE}") from error
