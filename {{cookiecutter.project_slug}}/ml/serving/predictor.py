"""Scores records with one bundle and remembers what it answered; knows nothing of HTTP."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ml.contract import events
from ml.contract.bundle import Bundle
from ml.contract.clock import Clock
from ml.features.fold import NEVER
from ml.features.online import Known, Online
from ml.features.table import CATEGORIES, NUMBERS, Inputs, columns_of, features_of, inputs, keys_of
from ml.features.table import MISSING as NO_CATEGORY
from ml.serving.counters import AGE, DEFAULTS, LOST, MISSING, ONLINE, OUTCOMES, PREDICTIONS, SCORES, UNKNOWN
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

    def __init__(self, bundle: Bundle, folder: Path, clock: Clock, online: Online) -> None:
        bundle.replay_golden()
        self.clock, self.online = clock, online
        self._bundle, self._log = bundle, events.EventLog(folder)
        self._environment = settings().release.environment
        self._known = {feature.name: bundle.reference.known(feature.name) for feature in CATEGORIES}

    def predict(self, records: Sequence[BaseModel]) -> list[Answer]:
        """Score records, log each prediction with its features, and count what was unusual."""
        now, columns = self.clock.now(), columns_of(records)
        known = self.online.known(columns, now)
        given = inputs(columns | known.features)
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
        self._count_known(known, now.timestamp())
        lines = [
            events.Prediction(
                time=now, key=key, features=features, degraded=self.online.down is not None, **answer.model_dump()
            )
            for answer, key, features in zip(answers, keys_of(columns), features_of(given), strict=True)
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

    def state(self) -> dict[str, str]:
        """Return how it fares: "ready", or "degraded" while windowed features are served as their defaults."""
        down = self.online.ask()
        ONLINE.set(down is None)
        return {"status": "degraded" if down else "ready", "online_store": down or "up"}

    def close(self) -> None:
        """Close the event log and the online store."""
        self._log.close()
        self.online.close()

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

    def _count_known(self, known: Known, now: float) -> None:
        ONLINE.set(self.online.down is None)
        for name, values in known.features.items():
            if unknown := int(np.isnan(values).sum()):
                DEFAULTS.labels(name).inc(unknown)
        for group, as_of in known.as_of.items():
            for moment in as_of[as_of > NEVER].tolist():
                AGE.labels(group).observe(now - moment)
