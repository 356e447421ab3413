"""Experiments whose truth is known: entities come late and grow, each with a temper of its own, and days swing.

The project's own estimators look at the end of every day; tests and benchmarks/experiment_simulation.py share them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.experiment.split import BROKEN
from ml.statistics.anytime import radius
from ml.statistics.clusters import Effect, Sums, difference, mean
from ml.statistics.split import sample_ratio

Floats = NDArray[np.float64]

ONCE = NormalDist().inv_cdf(0.975)  # standard errors of an interval for a single look
REACH = 60.0


@dataclass(frozen=True)
class World:
    """How costs per thousand come about: the truth, and everything that goes on beside it.

    With `late` entities come over half of the days, with `uneven` a few have most of the rows, and the rows of one grow
    or fade by a factor whose logarithm has the standard deviation `growth`. Those of an entity, a day and a row are
    `temper`, `swing` and `noise`.
    """

    effect: float = 0.0
    entities: int = 2000
    days: int = 30
    before: int = 0
    rows: float = 1.5
    share: float = 0.5
    late: bool = True
    uneven: bool = True
    growth: float = 0.5
    temper: float = 200.0
    swing: float = 300.0
    noise: float = 1500.0


class Look(NamedTuple):
    """Both arms as they are known after a day, and what their entities had cost before."""

    arm: Sums
    champion: Sums
    past: tuple[Sums, Sums]


def looks(world: World, seed: int, least: int = 100) -> Iterator[Look]:
    """Yield what is known after each day, from when each arm has `least` entities: nobody looks earlier."""
    random, days = np.random.default_rng(seed), world.before + world.days
    rate = world.rows * (random.gamma(0.7, 1 / 0.7, world.entities) if world.uneven else np.ones(world.entities))
    since = random.integers(-world.days, world.days // 2, world.entities) if world.late else np.zeros(world.entities)
    there = np.arange(-world.before, world.days)[:, None] >= np.where(since < 0, -world.before, since)
    trend = np.exp(random.normal(0, world.growth, world.entities) * np.linspace(-0.5, 0.5, days)[:, None])
    rows = random.poisson(rate * trend * there).astype(np.float64)
    centre = 430 + random.normal(0, world.temper, world.entities) + random.normal(0, world.swing, days)[:, None]
    totals = rows * centre + np.sqrt(rows) * random.normal(0, world.noise, rows.shape)
    treated = random.random(world.entities) < world.share
    past_rows, past = rows[: world.before].sum(axis=0), totals[: world.before].sum(axis=0)
    rows, totals = rows[world.before :], totals[world.before :] + world.effect * rows[world.before :] * treated
    rows, totals = rows.cumsum(axis=0), totals.cumsum(axis=0)
    for day in range(world.days):
        arms = [(rows[day] > 0) & treated, (rows[day] > 0) & ~treated]
        if min(own.sum() for own in arms) >= least:
            arm, champion = (Sums(totals[day, own], rows[day, own]) for own in arms)
            yield Look(
                arm, champion, (Sums(past[arms[0]], past_rows[arms[0]]), Sums(past[arms[1]], past_rows[arms[1]]))
            )


def wrong_once(world: World, count: int, alpha: float = 0.05) -> dict[str, float]:
    """Return how often each interval misses the truth on any day, and on the last."""
    missed: dict[str, list[bool]] = {"sequence, any day": [], "one look, any day": [], "one look, last day": []}
    for seed in range(count):
        apart = [estimate(look, world.before > 0) for look in looks(world, seed)]
        off = [abs(each.value - world.effect) for each in apart]
        always = [gap > radius(each.error, REACH, alpha) for gap, each in zip(off, apart, strict=True)]
        once = [gap > ONCE * each.error for gap, each in zip(off, apart, strict=True)]
        for name, said in zip(missed, (any(always), any(once), once[-1]), strict=True):
            missed[name].append(said)
    return {name: float(np.mean(each)) for name, each in missed.items()}


def estimate(look: Look, with_past: bool) -> Effect:
    """Return the difference of the arms, without or with what their entities did before."""
    return difference(look.arm, look.champion, [look.past] if with_past else ())


def coverage(count: int, entities: int = 300, rows: int = 20) -> dict[str, float]:
    """Return how often the interval of one look holds a mean of clustered rows, by entity and by row."""
    held: dict[str, list[bool]] = {"by entity": [], "by request": []}
    for seed in range(count):
        random = np.random.default_rng(seed)
        sizes = 1 + random.poisson(rows * random.gamma(0.7, 1 / 0.7, entities))
        values = np.repeat(random.normal(0, 400, entities), sizes) + random.normal(0, 1500, sizes.sum())
        code = np.repeat(np.arange(entities), sizes)
        grouped = Sums(np.bincount(code, values), sizes.astype(np.float64))
        alone = Sums(values, np.ones(len(values)))
        for name, side in zip(held, (grouped, alone), strict=True):
            found = mean(side)
            held[name].append(abs(found.value) <= ONCE * found.error)
    return {name: float(np.mean(each)) for name, each in held.items()}


def last_days(world: World, count: int) -> tuple[list[Effect], list[Effect]]:
    """Return the estimates on the last day, without and with what the same entities did before."""
    plain, adjusted = [], []
    for seed in range(count):
        *_, last = looks(world, seed)
        plain.append(estimate(last, with_past=False))
        adjusted.append(estimate(last, with_past=True))
    return plain, adjusted


def decided(world: World, count: int, limit: float, alpha: float = 0.05) -> tuple[float, float]:
    """Return how often a look shows that the effect is below `limit`, and on which day it does so in the median."""
    days = []
    for seed in range(count):
        for day, look in enumerate(looks(world, seed), start=1):
            found = estimate(look, world.before > 0)
            if found.value + radius(found.error, REACH, alpha) < limit:
                days.append(day)
                break
    return len(days) / count, float(np.median(days)) if days else float("nan")


def mismatch(share: float, count: int, entities: int = 20_000, days: int = 1) -> float:
    """Return how often a split that was planned in halves is called broken, when so many of its entities come in one.

    With `days`, entities come over so many, and each evening somebody looks.
    """
    random = np.random.default_rng(0)
    ones = random.binomial(entities // days, share, (count, days)).cumsum(axis=1)
    seen = entities // days * np.arange(1, days + 1)
    called = [
        any(broken({"new": int(one), "champion": int(all_ - one)}) for one, all_ in zip(each, seen, strict=True))
        for each in ones
    ]
    return float(np.mean(called))


def broken(counts: dict[str, int]) -> bool:
    """Say whether the split into halves is called broken."""
    p_value = sample_ratio(counts, {"new": 50, "champion": 50})
    return p_value is not None and p_value < BROKEN
