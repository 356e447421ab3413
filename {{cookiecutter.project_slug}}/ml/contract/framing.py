"""The framing of the problem, ml/problem/framing.toml, as code reads it: decision, costs, time, limits."""

import hashlib
import re
import tomllib
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

import ml.problem
from ml.contract.clock import Clock
from ml.errors import ContractError
from ml.problem.features import FEATURES
from ml.problem.schema import Record
from ml.statistics.metrics import Costs

FILE = "ml/problem/framing.toml"


class Table(BaseModel):
    """One table of the framing; a key that nothing reads is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Decision(Table):
    """What is decided, by whom, what it is worth, and what the model cannot know."""

    question: str = Field(min_length=1)
    users: str = Field(min_length=1)
    action: str = Field(min_length=1)
    business_metric: str = Field(min_length=1)
    limits: str = Field(min_length=1)


class Task(Table):
    """The machine-learning task: what is predicted and by which metric models are compared."""

    kind: Literal["binary-classification"]
    positive: str
    metric: Literal["log_loss", "brier"]
    margin: float = Field(ge=0, description="the simplest rung within this of the best is chosen")


class Cost(Table):
    """What each error costs, in any one unit; only the ratio matters."""

    false_alarm: float = Field(gt=0)
    miss: float = Field(gt=0)

    @property
    def costs(self) -> Costs:
        """Both costs, from which the threshold follows."""
        return Costs(self.false_alarm, self.miss)


class Time(Table):
    """The calendar of days, when labels are known, and how the training window is cut."""

    timezone: str
    cluster: Literal["day"] = Field(description="the unit of chance: what is resampled")
    label_delay_hours: float = Field(gt=0, description="from prediction to outcome, at most")
    folds: int = Field(ge=2, description="later stretches on which rungs are compared, fitted on all days before")
    test_days: int = Field(ge=2, description="the newest days, on which no rung is fitted or compared")

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError) as error:
            raise ValueError(f"no time zone is called {name!r}") from error
        return name


class Label(Table):
    """How long an outcome is waited for, and what becomes of a prediction that gets none."""

    attribution_hours: float = Field(gt=0, description="from prediction on; an outcome that comes later corrects")
    absent: Literal["drop", "negative"] = Field(description="what a prediction without an outcome is taken for")
    hidden: Literal["none", "positive", "negative"] = Field(
        default="none", description="decisions that, acted on, hide their outcome"
    )


class Frozen(Table):
    """The test set that never changes: whole days that no training sees."""

    since: date
    until: date
    every: int = Field(ge=2, description="one day in so many, from the first on")
    margin: float = Field(gt=0, description="what a challenger may lose there")

    @field_validator("every")
    @classmethod
    def _mixed(cls, every: int) -> int:
        if every % 7 == 0:
            raise ValueError("a multiple of seven would take one weekday only")
        return every

    @property
    def days(self) -> list[date]:
        """All of its days, in order."""
        return [
            self.since + timedelta(days=ahead) for ahead in range(0, (self.until - self.since).days + 1, self.every)
        ]


class Limits(Table):
    """What the gate asks of a challenger."""

    alpha: float = Field(gt=0, lt=0.5, description="how often a model just as bad as a limit may pass a check")
    power: float = Field(gt=0.5, lt=1, description="of the days that an inconclusive verdict asks for")
    days: int = Field(ge=5, description="fewer labelled days decide nothing")
    margin: float = Field(gt=0, description="what a challenger may lose in the primary metric")
    calibration: tuple[float, float] = Field(description="limits of observed over predicted")
    slope: tuple[float, float] | None = Field(
        default=None, description="limits of the slope of the recalibrated logit; not asked where it is left out"
    )
    churn: float = Field(gt=0, le=1, description="share of decisions that may differ from the champion's")

    @property
    def tail(self) -> float:
        """The level of each one-sided bound, half of alpha, as in trials of non-inferiority (ICH E9, 3.3.2).

        The other half is kept for days rarer than a window of a few weeks has seen.
        """
        return self.alpha / 2

    @field_validator("calibration", "slope")
    @classmethod
    def _around_one(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits and not 0 < limits[0] < 1 < limits[1]:
            raise ValueError("limits have to lie on both sides of 1")
        return limits


class Slices(Table):
    """Which parts of the rows are judged alone, and from how many rows and positives on."""

    features: list[str] = Field(description="categories among the features")
    rows: int = Field(ge=1)
    positives: int = Field(ge=1)
    margin: float = Field(gt=0)

    @field_validator("features")
    @classmethod
    def _categories(cls, names: list[str]) -> list[str]:
        known = [feature.name for feature in FEATURES if feature.kind == "category"]
        if absent := [name for name in names if name not in known]:
            raise ValueError(f"{absent[0]!r} is no category among the features ({', '.join(known) or 'none'})")
        return names


class Budget(Table):
    """What serving may take: of HTTP with one core, and of the scorer alone."""

    latency_p99_ms: float = Field(gt=0)
    throughput_per_second: float = Field(gt=0)
    cpu_us_per_prediction: float = Field(gt=0)
    cpu_ms_per_thousand: float = Field(gt=0)
    size_mb: float = Field(gt=0)
    memory_mb: float = Field(gt=0)


class DataLimits(Table):
    """What every window of raw data has to hold."""

    rows_per_day: int = Field(ge=1)
    freshness_days: int = Field(ge=0, description="age of the newest record at the window's end")
    known: float = Field(ge=0, le=1, description="share of records for which a windowed feature is known, at least")


class Leak(Table):
    """From where on a feature is too good to be known before the outcome."""

    single_feature_auc: float = Field(gt=0.5, le=1)
    missing_purity: float = Field(gt=0, le=1, description="how far a class may vanish where a value is missing")


class Experiments(Table):
    """Who is assigned to an arm, and what an arm may lose, in experiments on what is served."""

    entity: list[str] = Field(min_length=1, description="fields of the record: the first with a value names the entity")
    alpha: float = Field(gt=0, lt=0.5, description="how often an interval is wrong, however often one looks")
    margin: float = Field(gt=0, description="what an arm may cost more, per thousand decisions")
    flips: float = Field(gt=0, le=1, description="share of decisions in a shadow that may differ")
    errors: float = Field(gt=0, le=1, description="share of requests that a model may fail on")
    entities: int = Field(ge=2, description="fewer in an arm decide nothing")

    @property
    def tail(self) -> float:
        """The level of each one-sided bound, half of alpha."""
        return self.alpha / 2

    @field_validator("entity")
    @classmethod
    def _fields(cls, names: list[str]) -> list[str]:
        if absent := [name for name in names if name not in Record.model_fields]:
            raise ValueError(f"{absent[0]!r} is no field of a record ({', '.join(Record.model_fields)})")
        return names


class Alarm(Table):
    """When the monitor alarms: how often without a reason, and which shift of an input is too small or too large."""

    false_alarm_rate: float = Field(gt=0, lt=0.05, description="of windows like training's, over all variables")
    block_days: int = Field(ge=1, description="days that hang together: good and bad days come in runs")
    drift_floor: float = Field(ge=0, lt=1, description="Hellinger distance that nobody would act on")
    relevant_shift: float = Field(gt=0, lt=1, description="Hellinger distance that must not be missed")
    power: float = Field(gt=0.5, lt=1, description="of seeing it; a window that promises less is inconclusive")


class Retraining(Table):
    """On how much a retraining is fitted, and what keeps retraining from running wild."""

    window_days: int = Field(ge=1)
    pause_days: int = Field(ge=0, description="after the last attempt, whatever came of it")
    max_age_days: int = Field(ge=1, description="after which a champion is trained anew without any alarm")
    new_labels: int = Field(ge=0, description="labelled rows since the champion's last day, at least")
    per_week: int = Field(ge=1, description="attempts in any seven days, at most")
    rejections: int = Field(ge=1, description="retrainings in a row that the gate rejects: then a person is asked")


class Framing(Table):
    """The whole framing."""

    decision: Decision
    task: Task
    cost: Cost
    time: Time
    label: Label
    frozen: Frozen
    gate: Limits
    slices: Slices
    budget: Budget
    data: DataLimits
    leak: Leak
    experiment: Experiments
    alarm: Alarm
    retraining: Retraining

    @model_validator(mode="after")
    def _without_contradiction(self) -> "Framing":
        for key, holds, reason in (
            (
                "task.margin",
                self.task.margin <= self.gate.margin,
                "rungs may differ by more than gate.margin lets pass",
            ),
            (
                "label.attribution_hours",
                self.label.attribution_hours >= self.time.label_delay_hours,
                f"time.label_delay_hours are {self.time.label_delay_hours:g}",
            ),
            ("gate.days", self.gate.days <= self.time.test_days, f"time.test_days are only {self.time.test_days}"),
            ("frozen.until", len(self.frozen.days) >= self.gate.days, f"{len(self.frozen.days)} days, of gate.days"),
            ("slices.margin", self.slices.margin >= self.gate.margin, "a part swings more than the whole: gate.margin"),
            ("slices.positives", self.slices.positives <= self.slices.rows, f"of {self.slices.rows} rows"),
            (
                "alarm.relevant_shift",
                self.alarm.relevant_shift > self.alarm.drift_floor,
                f"alarm.drift_floor is {self.alarm.drift_floor:g}",
            ),
            (
                "retraining.window_days",
                self.retraining.window_days > self.time.test_days,
                f"time.test_days alone are {self.time.test_days}",
            ),
        ):
            if not holds:
                raise Contradiction(key, reason)
        return self


class Contradiction(ValueError):
    """Two keys of the framing do not go together."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key


def fingerprint() -> str:
    """Return the SHA-256 of the framing's file."""
    return hashlib.sha256((Path(ml.problem.__file__).parent / "framing.toml").read_bytes()).hexdigest()


@cache
def framing() -> Framing:
    """Read the framing; raises ContractError with line, key and reason."""
    file = Path(ml.problem.__file__).parent / "framing.toml"
    try:
        text = file.read_text()
        tables = tomllib.loads(text)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ContractError("framing", str(error), f"Edit {FILE}") from error
    try:
        return Framing.model_validate(tables)
    except ValidationError as error:
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")  # a typing error before its gap
        cause = first.get("ctx", {}).get("error")
        key = cause.key if isinstance(cause, Contradiction) else ".".join(map(str, first["loc"][:2]))
        said = first["msg"].removeprefix("Value error, ")
        broken = f"{key} = {_value(tables, key)!r}: {said}" if _value(tables, key) is not None else f"{key}: {said}"
        raise ContractError("framing", broken, f"Edit {FILE}, line {line_of(text, key)}") from error


def ahead(days: int) -> tuple[date, date]:
    """Return today, as the problem's time zone has it, and the last of so many days from then on."""
    today = Clock("wall").now().astimezone(ZoneInfo(framing().time.timezone)).date()
    return today, today + timedelta(days=days - 1)


def _value(tables: dict[str, Any], key: str) -> Any:
    table, _, name = key.partition(".")
    return tables.get(table, {}).get(name) if name else None


def line_of(text: str, key: str) -> int:
    """Return the line of `table.name` in a TOML text; of its table, or the last line, where it is not there."""
    table, _, name = key.partition(".")
    inside, found = False, 0
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if header := re.match(r"\s*\[([^\]]+)\]", line):
            inside = header[1].strip() == table
            found = number if inside else found
        elif inside and re.match(rf"\s*{re.escape(name)}\s*=", line):
            return number
    return found or len(lines)
