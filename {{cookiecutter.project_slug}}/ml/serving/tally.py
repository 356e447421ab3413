"""Counts what was answered, many turns at once: one by one, counting would cost more than scoring does."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.features.fold import NEVER
from ml.features.table import CATEGORIES, MISSING, NUMBERS
from ml.serving import counters
from ml.serving.turn import Turn

WINDOW = 0.2  # seconds


class Tally:
    """Turns that are still to be counted."""

    def __init__(self) -> None:
        self._turns: list[Turn] = []

    def add(self, turn: Turn) -> None:
        """Count a turn soon."""
        if not self._turns:
            asyncio.get_running_loop().call_later(WINDOW, self.count)
        self._turns.append(turn)

    def count(self) -> None:
        """Count what is there."""
        taken, self._turns = self._turns, []
        for _, turns in groupby(taken, key=lambda turn: turn.plan):
            _count(list(turns))


def _every(turns: Sequence[Turn], of: Callable[[Turn], Any]) -> NDArray[Any]:
    return np.concatenate([of(turn) for turn in turns])


def _count(turns: Sequence[Turn]) -> None:
    """Count turns of one plan."""
    plan = turns[0].plan
    said_by, scores = _every(turns, lambda turn: turn.said_by), _every(turns, lambda turn: turn.scores)
    decisions, fallback = _every(turns, lambda turn: turn.decisions), _every(turns, lambda turn: turn.fallback)
    for place in np.unique(said_by).tolist():
        bundle, own = plan.labels[place], said_by == place
        for decision, times in (("true", (own & decisions).sum()), ("false", (own & ~decisions).sum())):
            counters.PREDICTIONS.labels(bundle, decision).inc(int(times))
        counters.SCORES.labels(bundle).observe_all(scores[own])
    for by in set(fallback.tolist()) - {""}:
        counters.FALLBACKS.labels(by).inc(int((fallback == by).sum()))
    if plan.experiment:
        counters.WITHOUT_ENTITY.inc(_every(turns, lambda turn: turn.entities).tolist().count(None))
    counters.SECONDS.observe_all(_every(turns, lambda turn: turn.seconds))
    counters.ONLINE.set(not turns[-1].degraded)
    _count_features(turns)


def _count_features(turns: Sequence[Turn]) -> None:
    absent = np.isnan(_every(turns, lambda turn: turn.given.numbers)).sum(axis=0)
    for feature, times in zip(NUMBERS, absent.tolist(), strict=True):
        counters.MISSING.labels(feature.name).inc(times)
    for feature, values in zip(CATEGORIES, _every(turns, lambda turn: turn.given.categories).T, strict=True):
        counts, known = Counter(values.tolist()), turns[0].plan.known[feature.name]
        counters.MISSING.labels(feature.name).inc(counts.pop(MISSING, 0))
        counters.UNKNOWN.labels(feature.name).inc(sum(counts[value] for value in counts.keys() - known))
    for name in turns[0].known.features:
        unknown = sum(int(np.isnan(turn.known.features[name]).sum()) for turn in turns)
        counters.DEFAULTS.labels(name).inc(unknown)
    for group in turns[0].known.as_of:
        ages = [turn.now.timestamp() - turn.known.as_of[group][turn.known.as_of[group] > NEVER] for turn in turns]
        counters.AGE.labels(group).observe_all(np.concatenate(ages))
