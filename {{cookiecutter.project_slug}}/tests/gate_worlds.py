"""Worlds whose truth is known, in which the gate's own checks judge: days that swing, and models off by a known amount.

A row's true log odds are what a model can know of it plus what its day does to all of its rows, which no model knows.
The honest model reads the one and is calibrated; every other is the honest one distorted by an amount. The amount is
solved for on a large population, with outcomes replaced by their probabilities, so that the truth lies exactly at a
limit.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq, root
from scipy.special import expit, logit, ndtri
from scipy.stats import norm, rankdata, ttest_1samp
from scipy.stats.qmc import Sobol
from threadpoolctl import threadpool_limits

from ml.contract.framing import framing
from ml.contract.verdict import Check, overall
from ml.features.rows import Rows
from ml.features.table import CATEGORIES, NUMBERS, Inputs
from ml.gate import performance, trust
from ml.gate.case import Case, Judged
from ml.statistics.inference import Answer, of_days
from ml.statistics.metrics import losses

Floats = NDArray[np.float64]

BASE, KNOWN = -2.68, 0.7  # log odds: their mean, and the standard deviation of what can be known of a row
ROW_NOISE = 0.7  # in log odds: two such models differ enough for three weeks to be too few
# In log odds: more than the 0.42 by which whole days differ at most between models of the real flights, which learned
# from other months or know the weekday and the month as well. docs/gate-statistics.md says what more would do.
DAY_NOISE = 0.5
RATES = (  # of disruption among the flights of New York's 365 days of 2013: every twentieth part of the days
    0.01,
    0.022,
    0.026,
    0.028,
    0.032,
    0.037,
    0.041,
    0.046,
    0.05,
    0.053,
    0.061,
    0.067,
    0.074,
    0.085,
    0.108,
    0.128,
    0.179,
    0.226,
    0.294,
    0.363,
    0.617,
)
ROWS = (150, 250)  # a day, any number as likely
PARTS = ((0.36, 0.33, 0.31), (0.3, 0.25, 0.2, 0.15, 0.1))  # shares of the values of two categories
PER_PART = (0.2, 0.0, -0.2)  # log odds that belong to the values of the first


class Sample(NamedTuple):
    """Rows of some days, each [n]; two noises a row and two a day that a model may take for knowledge, [2, n]."""

    day: NDArray[np.int64]
    odds: Floats  # the truth, as log odds
    known: Floats
    noise: Floats
    mood: Floats
    parts: NDArray[np.int64]

    @property
    def truth(self) -> Floats:
        return np.asarray(expit(self.odds))


Model = Callable[[Sample], Floats]  # log odds


class Pair(NamedTuple):
    """Two models."""

    champion: Model
    challenger: Model


class World(NamedTuple):
    """What is judged on the days that decide and on the frozen ones; None where no check looks."""

    recent: Pair | None = None
    frozen: Pair | None = None


def sample(generator: np.random.Generator, days: int, swing: float = 1.0) -> Sample:
    """Draw rows of so many days, which swing as flights do, or not at all where `swing` is 0."""
    day = np.repeat(np.arange(days), generator.integers(ROWS[0], ROWS[1] + 1, days))
    swung, moods, rows = (
        swings(generator.random(days)),
        generator.standard_normal((2, days)),
        generator.standard_normal((3, len(day))),
    )
    places = generator.random((len(PARTS), len(day)))
    parts = np.array([np.searchsorted(np.cumsum(each)[:-1], at) for each, at in zip(PARTS, places, strict=True)])
    known = _known(rows[0], parts)
    return Sample(day, known + swing * swung[day], known, rows[1:], moods[:, day], parts)


@cache
def population(power: int = 18) -> Sample:
    """Return one large sample, each row of a day of its own, whose truth is the mean over all days it could be of.

    Nothing that is expected of a pair depends on which rows share a day. Noises are a Sobol sequence: they fill their
    space evenly, so that expectations are exact to a small part of any spread.
    """
    places = Sobol(5 + len(PARTS), rng=np.random.default_rng(0)).random_base2(power).T
    known, *noises = ndtri(places[:5])
    parts = np.array([np.searchsorted(np.cumsum(each)[:-1], at) for each, at in zip(PARTS, places[5:], strict=True)])
    known = _known(known, parts)
    log_odds_of_days = swings((np.arange(1000) + 0.5) / 1000)
    grid = np.linspace(known.min(), known.max(), 501)  # smooth: a row's truth lies on the line between
    truth = expit(grid[:, None] + log_odds_of_days).mean(axis=1)
    return Sample(
        np.arange(len(known)),
        np.interp(known, grid, logit(truth)),
        known,
        np.array(noises[:2]),
        np.array(noises[2:]),
        parts,
    )


def swings(places: Floats) -> Floats:
    """Return what days do to log odds, 0 on average, from places in 0..1 among all days."""
    found = logit(np.array(RATES))
    middle = ((found[1:] + found[:-1]) / 2).mean()
    return np.interp(places, np.linspace(0, 1, len(RATES)), found) - middle


def _known(rows: Floats, parts: NDArray[np.int64]) -> Floats:
    return np.asarray(BASE + KNOWN * rows + np.array(PER_PART)[parts[0]])


# Models, and the truth about them


def honest(rows: Sample) -> Floats:
    """What can be known, calibrated."""
    slope, intercept = _honest()
    return intercept + slope * rows.known


@cache
def _honest() -> tuple[float, float]:
    everyone = population()
    return recalibration(everyone.truth, everyone.known)


def odds(amount: float) -> Model:
    """All odds too high."""
    return lambda rows: honest(rows) + amount


def noisy(amount: float, which: int = 0) -> Model:
    """Every row's odds off by a noise of its own."""
    return lambda rows: honest(rows) + amount * rows.noise[which]


def moody(amount: float, which: int = 0) -> Model:
    """The odds of all rows of a day off by the same noise."""
    return lambda rows: honest(rows) + amount * rows.mood[which]


def both(day: float, row: float) -> Model:
    """A noise a day, and one a row."""
    return lambda rows: honest(rows) + day * rows.mood[0] + row * rows.noise[0]


def stretched(amount: float, moved: float = 0.0) -> Model:
    """Log odds too far from their mean (over-confident), or with an amount below 1 too near."""
    return lambda rows: BASE + moved + amount * (honest(rows) - BASE)


def unfair(amount: float, part: int = 0) -> Model:
    """Odds too high in one part of the rows alone."""
    return lambda rows: honest(rows) + amount * (rows.parts[0] == part)


def recalibration(truth: Floats, log_odds: Floats) -> tuple[float, float]:
    """Return slope and intercept of the logistic regression of true probabilities on log odds."""
    mean, spread = log_odds.mean(), log_odds.std()
    design = np.stack([(log_odds - mean) / spread, np.ones_like(log_odds)])
    found = np.array([0.0, logit(truth.mean())])
    for _ in range(30):
        rate = expit(found @ design)
        step = np.linalg.solve((design * rate * (1 - rate)) @ design.T, design @ (truth - rate))
        found = found + step
        if np.abs(step).max() < 1e-12:
            break
    return float(found[0] / spread), float(found[1] - found[0] * mean / spread)


def difference(pair: Pair, part: int | None = None) -> float:
    """Return the expected difference of the losses in the primary metric, of all rows or of one part."""
    everyone = population()
    chosen = np.ones(len(everyone.day), bool) if part is None else everyone.parts[0] == part
    loss = []
    for model in pair:
        scores = expit(model(everyone)[chosen])
        one, none = (losses(np.full(len(scores), y), scores)[framing().task.metric] for y in (1, 0))
        loss.append(none + everyone.truth[chosen] * (one - none))
    return float((loss[1] - loss[0]).mean())


def changed(pair: Pair) -> float:
    """Return the share of decisions that differ."""
    threshold = logit(framing().cost.costs.threshold)
    champion, challenger = (model(population()) >= threshold for model in pair)
    return float((champion != challenger).mean())


def observed_over_predicted(model: Model) -> float:
    everyone = population()
    return float(everyone.truth.mean() / expit(model(everyone)).mean())


def slope(model: Model) -> float:
    return recalibration(population().truth, model(population()))[0]


def solved(truth: Callable[[float], float], limit: float, low: float, high: float) -> float:
    """Return the amount at which the truth is at the limit, between two amounts that it lies between."""
    return float(brentq(lambda amount: truth(amount) - limit, low, high, xtol=1e-9))


# Worlds at the limits


def worse(distort: Callable[[float], Model], by: float, champion: Model = honest, upto: float = 3.0) -> Pair:
    """Return the champion and a challenger that is worse by so much, distorted."""
    amount = solved(lambda amount: difference(Pair(champion, distort(amount))), by, 0.0, upto)
    return Pair(champion, distort(amount))


def rivals(apart: float, by: float = 0.0) -> Pair:
    """Return a champion that is better on good days and a challenger that is better on bad ones, worse by so much."""
    return worse(lambda amount: odds(amount), by, odds(-apart))


def unfair_pair(by: float) -> Pair:
    """Return honest and unfair models whose loss differs by so much in the one part."""
    return Pair(honest, unfair(solved(lambda amount: difference(Pair(honest, unfair(amount)), 0), by, 0.0, 4.0)))


def changing(share: float) -> Pair:
    """Return two models that decide differently about such a share."""
    return Pair(honest, noisy(solved(lambda amount: changed(Pair(honest, noisy(amount))), share, 0.0, 30.0)))


def off(ratio: float) -> Pair:
    """Return an honest model, and one of which so many are observed over predicted."""
    return Pair(honest, odds(solved(lambda amount: observed_over_predicted(odds(amount)), ratio, -4.0, 4.0)))


def sloped(limit: float, ratio: float = 1.0) -> Pair:
    """Return an honest model, and one whose recalibrated logit has that slope, with its level as asked."""
    amount = solved(lambda amount: slope(stretched(amount)), limit, 0.05, 20.0)
    moved = solved(lambda moved: observed_over_predicted(stretched(amount, moved)), ratio, -8.0, 8.0)
    return Pair(honest, stretched(amount, moved))


def at_every_limit() -> World:
    """Return a world in which the truth is at the limit of every check at once.

    The challenger is over-confident and too high as far as calibration allows; the champion differs from it by a
    noise, by its odds in the one part and by its odds elsewhere, which leaves three amounts for three limits.
    """
    gate = framing().gate
    challenger = sloped(gate.slope[0], gate.calibration[0]).challenger

    def pair(amounts: Sequence[float]) -> Pair:
        inside, outside, noise = amounts
        return Pair(
            lambda rows: challenger(rows) + np.where(rows.parts[0] == 0, inside, outside) + noise * rows.noise[0],
            challenger,
        )

    def missed(amounts: Sequence[float]) -> list[float]:
        found = pair(amounts)
        return [
            difference(found) - gate.margin,
            difference(found, 0) - framing().slices.margin,
            changed(found) - gate.churn,
        ]

    found = root(missed, [-0.5, 0.2, 1.0], method="hybr", options={"eps": 1e-3})
    if not found.success and np.abs(found.fun).max() > 1e-4:
        raise RuntimeError(f"no world is at every limit: {found.message} {found.x} {found.fun}")
    return World(pair(found.x), worse(odds, framing().frozen.margin))


def at_the_limits() -> dict[str, tuple[Callable[[Case], Check], Callable[[], World]]]:
    """Return each check and a world at its limit, by name; several where models can be off in several ways."""
    gate = framing().gate
    return {
        "primary, odds too high": (performance.primary, lambda: World(worse(odds, gate.margin))),
        "primary, noise a row": (performance.primary, lambda: World(worse(noisy, gate.margin))),
        "primary, noise a day": (performance.primary, lambda: World(worse(moody, gate.margin))),
        "primary, over-confident": (
            performance.primary,
            lambda: World(worse(lambda amount: stretched(1 + amount), gate.margin)),
        ),
        "better, rivals": (performance.better, lambda: World(rivals(0.2))),
        "better, noise a day": (performance.better, lambda: World(Pair(moody(0.3, 0), moody(0.3, 1)))),
        "frozen, odds too high": (performance.frozen, lambda: World(None, worse(odds, framing().frozen.margin))),
        "frozen, noise a row": (performance.frozen, lambda: World(None, worse(noisy, framing().frozen.margin))),
        "frozen, noise a day and a row": (
            performance.frozen,
            lambda: World(None, worse(lambda amount: both(DAY_NOISE, amount), framing().frozen.margin)),
        ),
        "slices, one of them": (performance.slices, lambda: World(unfair_pair(framing().slices.margin))),
        "churn": (trust.churn, lambda: World(changing(gate.churn))),
        "calibration, too high": (trust.calibration, lambda: World(off(gate.calibration[0]))),
        "calibration, too low": (trust.calibration, lambda: World(off(gate.calibration[1]))),
        "calibration, over-confident": (trust.calibration, lambda: World(sloped(gate.slope[0]))),
        "calibration, timid": (trust.calibration, lambda: World(sloped(gate.slope[1]))),
    }


def beyond_the_promise() -> World:
    """Return a world at the frozen limit where alpha is not kept: a whole day's odds off by a factor of 3.

    A few days then carry the loss, such as a storm on which the challenger was sure of calm, and fifteen days often
    lack one.
    """
    return World(None, worse(moody, framing().frozen.margin))


def below_the_limit() -> dict[str, tuple[Callable[[], World], float]]:
    """Return worlds in which the challenger is better than the primary limit, and by how much, by name."""
    margin = framing().gate.margin
    row, day = noisy(ROW_NOISE), moody(0.15)
    return {
        "equal, noise a row": (lambda: World(Pair(row, noisy(ROW_NOISE, 1))), margin),
        "half the margin, noise a row": (
            lambda: World(worse(lambda amount: noisy(ROW_NOISE + amount, 1), margin / 2, row)),
            margin / 2,
        ),
        "equal, noise a day": (lambda: World(Pair(day, moody(0.15, 1))), margin),
        "equal, rivals": (lambda: World(rivals(0.1)), margin),
    }


STATISTICAL = (performance.primary, performance.frozen, performance.slices, trust.calibration, trust.churn)


# Judging


def judged(generator: np.random.Generator, pair: Pair, days: int, swing: float = 1.0) -> Judged:
    """Draw days and outcomes and let both models score them."""
    rows = sample(generator, days, swing)
    outcomes = (generator.random(len(rows.day)) < rows.truth).astype(np.int64)
    names = [feature.name for feature in CATEGORIES]
    categories = np.full((len(rows.day), len(CATEGORIES)), "", dtype=object)
    for feature, part in zip(framing().slices.features, rows.parts, strict=False):
        categories[:, names.index(feature)] = np.array(list("abcde"), dtype=object)[part]
    numbers = np.zeros((len(rows.day), len(NUMBERS)), dtype=np.float32)
    keys = np.zeros(len(rows.day), dtype=np.uint64)
    scores = [expit(model(rows)) for model in pair]
    return Judged(pd.DataFrame(), Rows(Inputs(numbers, categories), outcomes, rows.day, keys), *scores)


class Run(NamedTuple):
    """What checks said of many pairs, by name: answers, and the first number that each measured."""

    answers: dict[str, list[Answer]]
    values: dict[str, Floats]

    def share(self, answer: Answer, name: str = "overall") -> float:
        return Counter(self.answers[name])[answer] / len(self.answers[name])


def run(
    world: World, checks: Iterable[Callable[[Case], Check]], pairs: int, days: int | None = None, seed: int = 1
) -> Run:
    """Let the checks judge so many pairs, each on days of its own; `overall` is what all of them say together."""
    generator, checks = np.random.default_rng(seed), tuple(checks)
    recent = framing().time.test_days if days is None else days
    frozen = len(framing().frozen.days) if days is None else days
    told: dict[str, list[Check]] = {check.__name__: [] for check in checks}
    together: list[Answer] = []
    bundle: Any = SimpleNamespace(
        manifest={"baseline": "another"}, digest="this one", threshold=framing().cost.costs.threshold
    )
    with threadpool_limits(1):
        for _ in range(pairs):
            on = [
                pair and judged(generator, pair, count)
                for pair, count in ((world.recent, recent), (world.frozen, frozen))
            ]
            case = Case(bundle, bundle, on[0], on[1], on[0], better=False)  # type: ignore[arg-type]
            said = [check(case) for check in checks]
            for check in said:
                told[check.name].append(check)
            together.append(overall(check.answer for check in said))
    answers = {name: [check.answer for check in found] for name, found in told.items()}
    values = {name: np.array([check.intervals[0].value for check in found]) for name, found in told.items()}
    return Run(answers | {"overall": together}, values)


# ROC-AUC: rows against days


def placements(positive: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """Return the share of negatives below each positive, and of positives above each negative, ties by half.

    By midranks (Sun and Xu 2014), so that no positive is compared with every negative.
    """
    ranks = rankdata(scores)
    above, under = rankdata(scores[positive]), rankdata(scores[~positive])
    return (ranks[positive] - above) / (~positive).sum(), 1 - (ranks[~positive] - under) / positive.sum()


def delong(outcomes: NDArray[Any], champion: Floats, challenger: Floats) -> float:
    """Return the one-sided p-value against the challenger's ROC-AUC being no higher.

    DeLong, DeLong and Clarke-Pearson (1988), paired: rows are taken to be independent.
    """
    positive = outcomes == 1
    ours, theirs = placements(positive, challenger), placements(positive, champion)
    apart = [one - other for one, other in zip(ours, theirs, strict=True)]
    variance = sum(each.var(ddof=1) / len(each) for each in apart)
    return float(norm.sf(apart[0].mean() / np.sqrt(variance))) if variance > 0 else 1.0


def auc_by_day(
    outcomes: NDArray[Any], champion: Floats, challenger: Floats, day: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return the difference of the ROC-AUCs as sums and sizes a day, the days' influence on it as for the slope."""
    positive = outcomes == 1
    ours, theirs = placements(positive, challenger), placements(positive, champion)
    count, total, pull = day.max() + 1, 0.0, np.zeros(day.max() + 1)
    for rows, one, other in zip((positive, ~positive), ours, theirs, strict=True):
        total = (one - other).mean()  # the same of both classes
        pull += np.bincount(day[rows], one - other - total, minlength=count) / rows.sum()
    return total + count * pull, np.ones(count)


def claims(pair: Pair, pairs: int, swing: float = 1.0, days: int | None = None, seed: int = 1) -> dict[str, float]:
    """Return how often the challenger is claimed to be better, by what takes rows and by what takes days for chance.

    All at the level of the gate's own bounds.
    """
    generator, tail = np.random.default_rng(seed), framing().gate.tail
    days = framing().time.test_days if days is None else days
    found: Counter[str] = Counter()
    for _ in range(pairs):
        each = judged(generator, pair, days, swing)
        rows, scores = each.rows, (each.champion, each.challenger)
        found["DeLong, ROC-AUC"] += delong(rows.outcomes, *scores) < tail
        found["days, ROC-AUC"] += of_days(*auc_by_day(rows.outcomes, *scores, rows.days)).low(tail) > 0
        found["t-test of rows, log loss"] += ttest_1samp(each.difference, 0, alternative="less").pvalue < tail
        found["days, log loss"] += performance.better(Case(None, None, each, each, each, True)).answer == "pass"  # type: ignore[arg-type]
    return {name: count / pairs for name, count in found.items()}
