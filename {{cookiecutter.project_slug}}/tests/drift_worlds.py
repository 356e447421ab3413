"""Worlds whose truth is known, in which the monitor's own code judges: days that swing and hang together, and shifts.

A number of a row is its day's mean plus noise; the day's mean swings by `effect` standard deviations, keeps `memory` of
the day before, and has a weekly pattern. A shift moves all days of a window by so many standard deviations. Outcomes
follow a number's logit and what the day does to all of its rows, which no model knows.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

from ml.contract.framing import framing
from ml.contract.profile import Profile
from ml.contract.reference import Bins, Reference, Variable
from ml.features.table import NUMBERS
from ml.monitoring import drift
from ml.monitoring.daily import Daily
from ml.monitoring.look import Expected
from ml.monitoring.observations import Observations
from ml.monitoring.signal import Signal, signals
from ml.statistics.shift import hellinger
from ml.statistics.unlabelled import sums_by_day

Floats = NDArray[np.float64]

SINCE = date(2024, 1, 1)
TRAINED, ROWS = 70, 900  # days and rows a day of a reference
VARIABLES = [each.name for each in NUMBERS if not each.calendar and each.name in drift.AS_SERVED][:10]
EDGES = norm.ppf(np.arange(1, 10) / 10)  # deciles of a day without a swing


class World(NamedTuple):
    """How days differ."""

    effect: float = 0.1
    memory: float = 0.0
    weekly: float = 0.0
    heavy: bool = False  # whether swings have the tails of Student's t with four degrees of freedom


WORLDS = {
    "days alike": World(0),
    "days differ": World(0.1),
    "days differ, in runs and by weekday": World(0.1, 0.5, 0.2),
    "days differ much": World(0.3),
    "days differ much, in runs": World(0.3, 0.5),
    "days differ much, in runs, heavy tails": World(0.3, 0.5, heavy=True),
}


class Counted:
    """Counts of a day in the place of a whylogs profile."""

    def __init__(self, counts: Mapping[str, NDArray[np.int64]]) -> None:
        self._counts = counts

    def counts(self, name: str, _: Bins) -> NDArray[np.int64]:
        """Return the counts of a variable, [cells]."""
        return self._counts[name]


def swings(world: World, days: int, variables: int, rng: np.random.Generator) -> Floats:
    """Return each day's mean of each variable, [days, variables]."""
    drawn = (
        rng.standard_t(4, (days + 30, variables)) / np.sqrt(2)
        if world.heavy
        else rng.normal(size=(days + 30, variables))
    )
    states = [drawn[0]]
    for each in drawn[1:]:
        states.append(world.memory * states[-1] + np.sqrt(1 - world.memory**2) * each)
    pattern = world.weekly * np.sin(2 * np.pi * np.arange(days) / 7)
    return world.effect * np.array(states)[30:] + pattern[:, None]


def counted(means: Floats, rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return counts in ten deciles, other and missing, [days, variables, 12]."""
    below = norm.cdf(EDGES - means[..., None])
    edges = np.concatenate([np.zeros((*means.shape, 1)), below, np.ones((*means.shape, 1))], axis=-1)
    found = rng.multinomial(rows, np.diff(edges, axis=-1))
    return np.concatenate([found, np.zeros((*means.shape, 2), dtype=np.int64)], axis=-1)


def reference(counts: NDArray[np.int64], sums: Mapping[str, Floats] | None = None) -> Reference:
    """Return the reference of some days' counts, and of their sums of outcomes, scores and losses."""
    days = named(len(counts))
    bins = Bins("number", EDGES.tolist(), [-9.0, 9.0], [])
    return Reference(
        days=days,
        rows=[ROWS] * len(days),
        unseen=[True] * len(days),
        variables=[Variable(name, False, bins, [], counts[:, place].tolist()) for place, name in enumerate(VARIABLES)],
        **{
            name: (sums[name].tolist() if sums else [0.0] * len(days))
            for name in ("observed", "predicted", "realised", "estimated", "slope", "information")
        },
    )


def named(days: int, since: date = SINCE) -> list[str]:
    """Return so many days in a row, ISO 8601."""
    return [str(since + timedelta(days=ahead)) for ahead in range(days)]


def look(world: World, days: int, rows: int, seed: int, shift: float = 0.0) -> list[drift.Drift]:
    """Return what the monitor finds in a window of `days` days and `rows` rows in all, whose first variable shifted."""
    rng = np.random.default_rng(seed)
    trained = reference(counted(swings(world, TRAINED, len(VARIABLES), rng), ROWS, rng))
    means = swings(world, days, len(VARIABLES), rng)
    means[:, 0] += shift
    counts = counted(means, -(-rows // days), rng)
    profiles = {
        day: cast(Profile, Counted(dict(zip(VARIABLES, of_day, strict=True))))
        for day, of_day in zip(named(days, SINCE + timedelta(days=TRAINED)), counts, strict=True)
    }
    return drift.drifts(trained, profiles, {})


@cache
def relevant_shift() -> float:
    """Return by how many standard deviations a number moves where its distance is the one that must not be missed."""

    def apart(shift: float) -> float:
        moved = np.diff([0, *norm.cdf(EDGES - shift), 1])
        return float(hellinger(moved, np.full(10, 0.1))) - framing().alarm.relevant_shift

    return float(brentq(apart, 0, 3))


class Served(NamedTuple):
    """Both signals of a window, and what its scores let expect."""

    signals: list[Signal]
    expected: Expected


def served(seed: int, days: int = 28, **changed: float) -> Served:
    """Return what the monitor finds where the world serves what it was trained on, but for what is `changed`."""
    rng = np.random.default_rng(seed)
    known = with_outcomes(rng, np.zeros((TRAINED, len(VARIABLES), 12), dtype=np.int64))
    day, outcomes, scores = _outcomes(rng, days, **changed)
    window = Daily.of(Observations(scores, outcomes, day.astype(str), np.ones(len(day))))
    return Served(list(signals(known, window)), Expected.of(known, window))


def with_outcomes(rng: np.random.Generator, counts: NDArray[np.int64]) -> Reference:
    """Return the reference of some days' counts, and of outcomes and scores that are drawn."""
    day, outcomes, scores = _outcomes(rng, len(counts))
    return reference(counts, sums_by_day(outcomes, scores, day, framing().task.metric))


def _outcomes(
    rng: np.random.Generator, days: int, shift: float = 0.0, slope: float = 1.0, base: float = 0.0
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return day, outcome and score of rows: inputs moved by `shift`, their relation to the outcome by the others."""
    day = np.repeat(np.arange(days), ROWS)
    inputs = rng.normal(size=len(day)) + swings(World(0.2, 0.3), days, 1, rng)[day, 0] + shift
    unknown = 0.3 * swings(World(1, 0.3), days, 1, rng)[day, 0]
    scores = _calibrated(inputs)
    truth = expit(-2.2 + base + slope * inputs + unknown)
    return day, (rng.random(len(day)) < truth).astype(float), scores


def _calibrated(inputs: Floats) -> Floats:
    """Return the probability of what a model knows: what it does not know of the day flattens the curve a little."""
    points, weights = np.polynomial.hermite_e.hermegauss(9)
    curves: Any = expit(-2.2 + inputs[:, None] + 0.3 * points)
    return np.asarray(curves @ weights / weights.sum())
