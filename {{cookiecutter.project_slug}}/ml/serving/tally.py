"""Counts what was answered, many turns at once: one by one, counting would cost more than scoring does."""

import asyncio
from collections import Counter

import numpy as np

from ml.features.fold import NEVER
from ml.features.table import CATEGORIES, MISSING, NUMBERS
from ml.serving import counters
from ml.serving.answered import Answered, together

WINDOW = 0.2  # seconds


class Tally:
    """What turns answered that is still to be counted."""

    def __init__(self) -> None:
        self._turns: list[Answered] = []

    def add(self, answered: Answered) -> None:
        """Count what a turn answered soon."""
        if not self._turns:
            asyncio.get_running_loop().call_later(WINDOW, self.count)
        self._turns.append(answered)

    def count(self) -> None:
        """Count what is there."""
        taken, self._turns = self._turns, []
        for answered in together(taken):
            _count(answered)
            _count_features(answered)


def _count(answered: Answered) -> None:
    plan, decisions, fallback = answered.plan, answered.decisions, answered.fallback.tolist()
    for place in np.unique(answered.said_by).tolist():
        bundle, own = plan.labels[place], answered.said_by == place
        for decision, times in (("true", (own & decisions).sum()), ("false", (own & ~decisions).sum())):
            counters.PREDICTIONS.labels(bundle, decision).inc(int(times))
        counters.SCORES.labels(bundle).observe_all(answered.scores[own])
    for by in set(fallback) - {""}:
        counters.FALLBACKS.labels(by).inc(fallback.count(by))
    if plan.experiment:
        counters.WITHOUT_ENTITY.inc(answered.entities.tolist().count(None))
    counters.SECONDS.observe_all(answered.seconds)
    counters.ONLINE.set(not answered.degraded[-1])


def _count_features(answered: Answered) -> None:
    absent = np.isnan(answered.given.numbers).sum(axis=0)
    for feature, times in zip(NUMBERS, absent.tolist(), strict=True):
        counters.MISSING.labels(feature.name).inc(times)
    for feature, values in zip(CATEGORIES, answered.given.categories.T, strict=True):
        counts, known = Counter(values.tolist()), answered.plan.known[feature.name]
        counters.MISSING.labels(feature.name).inc(counts.pop(MISSING, 0))
        counters.UNKNOWN.labels(feature.name).inc(sum(counts[value] for value in counts.keys() - known))
    for name, values in answered.known.features.items():
        counters.DEFAULTS.labels(name).inc(int(np.isnan(values).sum()))
    now = answered.times.astype(np.int64) / 1e6
    for group, as_of in answered.known.as_of.items():
        counters.AGE.labels(group).observe_all((now - as_of)[as_of > NEVER])
