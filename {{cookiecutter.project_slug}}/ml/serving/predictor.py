"""Scores records with one bundle and remembers what it answered; knows nothing of HTTP."""

import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ml.contract import events
from ml.contract.bundle import Bundle
from ml.contract.clock import Clock
from ml.features.table import CATEGORIES, NAMES, NUMBERS, Inputs, columns_of, inputs
from ml.features.table import MISSING as NO_CATEGORY
from ml.serving.counters import LOST, MISSING, OUTCOMES, PREDICTIONS, SCORES, UNKNOWN
from ml.settings import settings

logger = logging.getLogger("ml.serving")


class Answer(BaseModel):
    """What a caller gets for one record."""

    request_id: str = Field(description="name it when the outcome is known")
    score: float = Field(ge=0, le=1, description="probability of the positive class")
    decision: bool = Field(description="whether acting is cheaper than not acting")
    bundle: str = Field(description="digest of the bundle that answered")


class Observed(BaseModel):
    """The outcome of an earlier prediction."""

    model_config = ConfigDict(extra="forbid", strict=True)

    request_id: str
    outcome: bool


class UnknownRequest(Exception):
    """An outcome names a request that was never answered."""


class Predictor:
    """One bundle at work; golden records are replayed before it takes any request."""

    def __init__(self, bundle: Bundle, folder: Path, clock: Clock) -> None:
        bundle.replay_golden()
        self.clock = clock
        self._bundle, self._log = bundle, events.EventLog(folder)
        self._environment = settings().release.environment
        self._known = {feature.name: bundle.reference.known(feature.name) for feature in CATEGORIES}

    def predict(self, records: Sequence[BaseModel]) -> list[Answer]:
        """Score records, log each prediction with its features, and count what was unusual."""
        given = inputs(columns_of(records))
        scores = self._bundle.scorer.score(given)
        answers = [
            Answer(
                request_id=events.new_request_id(self._environment),
                score=score,
                decision=score >= self._bundle.threshold,
                bundle=self._bundle.digest,
            )
            for score in scores.tolist()
        ]
        self._count(given, scores)
        now = self.clock.now()
        lines = [
            events.Prediction(time=now, features=features, **answer.model_dump())
            for answer, features in zip(answers, _features(given), strict=True)
        ]
        try:
            self._log.append(lines)
        except OSError as error:  # who asks for a prediction gets it all the same
            LOST.inc(len(lines))
            logger.error("%d predictions not logged: %s", len(lines), error)
        return answers

    def observe(self, observed: Sequence[Observed]) -> int:
        """Log outcomes, all or none; raises UnknownRequest for an id that was never given, OSError when it cannot."""
        for each in observed:
            if not events.is_request_id(each.request_id, self._environment):
                raise UnknownRequest(each.request_id)
        now = self.clock.now()
        self._log.append(events.Outcome(time=now, **each.model_dump()) for each in observed)
        for each in observed:
            OUTCOMES.labels(str(each.outcome).lower()).inc()
        return len(observed)

    def close(self) -> None:
        """Close the event log."""
        self._log.close()

    def _count(self, given: Inputs, scores: NDArray[np.float64]) -> None:
        bundle, decided = self._bundle.digest[:12], scores >= self._bundle.threshold
        for decision, times in (("true", decided.sum()), ("false", (~decided).sum())):
            PREDICTIONS.labels(bundle, decision).inc(int(times))
        histogram = SCORES.labels(bundle)
        for score in scores.tolist():
            histogram.observe(score)
        for place, feature in enumerate(NUMBERS):
            if absent := int(np.isnan(given.numbers[:, place]).sum()):
                MISSING.labels(feature.name).inc(absent)
        for place, feature in enumerate(CATEGORIES):
            values = given.categories[:, place].tolist()
            if absent := values.count(NO_CATEGORY):
                MISSING.labels(feature.name).inc(absent)
            known = self._known[feature.name]
            if unknown := sum(value not in known for value in values) - absent:
                UNKNOWN.labels(feature.name).inc(unknown)


def _features(given: Inputs) -> Iterable[dict[str, float | str | None]]:
    """Yield each row's features by name, None for a number that is missing."""
    for numbers, categories in zip(given.numbers.tolist(), given.categories.tolist(), strict=True):
        plain = [None if math.isnan(number) else number for number in numbers]
        yield dict(zip(NAMES, [*plain, *categories], strict=True))
