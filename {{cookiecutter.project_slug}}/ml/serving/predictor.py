"""Answers the requests of a turn by the plan, and has them written down; knows nothing of HTTP.

The champion scores every record. A challenger that answers gets the records of its entities besides, and where it fails
the champion's score is there already; a shadow gets them after everybody has been answered.
"""

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from ml.contract import events
from ml.contract.clock import Clock
from ml.contract.framing import framing
from ml.features.definition import Columns
from ml.features.online import Online
from ml.features.precomputed import Precomputed
from ml.features.table import columns_of, inputs, keys_of
from ml.online.store import OnlineStore
from ml.serving.answered import Answered
from ml.serving.batching import Request, fail, give
from ml.serving.challenger import Scores
from ml.serving.journal import Journal
from ml.serving.plan import Plan
from ml.serving.tally import Tally
from ml.serving.turn import BY_CHAMPION, BY_CONSTANT, Turn
from ml.settings import settings

logger = logging.getLogger("ml.serving")

WORDS = {True: "true", False: "false"}  # JSON's


class Answer(BaseModel):
    """What a caller gets for one record."""

    request_id: str = Field(description="name it when the outcome is known")
    score: float = Field(ge=0, le=1, description="probability of the positive class")
    decision: bool = Field(description="whether acting is cheaper than not acting")
    bundle: str = Field(description="digest of the bundle that answered")


class Predictor:
    """One plan at work; another can take its place between two turns."""

    def __init__(self, plan: Plan, journal: Journal, clock: Clock, store: OnlineStore) -> None:
        self.plan, self.clock = plan, clock
        self.online, self._precomputed = Online(store), Precomputed(store)
        self._journal, self._tally, self._entity = journal, Tally(), framing().experiment.entity
        self._environment = settings().release.environment

    def serve(self, requests: Sequence[Request]) -> None:
        """Answer requests: those that no challenger answers at once, the others when theirs have, or were too slow."""
        turn = self._by_champion(requests)
        if not turn.arms.any():
            self._answer(turn)
        elif turn.plan.shadow:
            answered = self._answer(turn)
            for rows, scores in _asked(turn):
                self._journal.shadow(answered, rows, scores)
        else:
            quick, waiting = turn.split(turn.arms > 0)
            if len(quick):
                self._answer(quick)
            later = asyncio.ensure_future(self._answer_later(waiting))
            later.add_done_callback(lambda task: fail(waiting.requests, task.exception()))

    def _by_champion(self, requests: Sequence[Request]) -> Turn:
        """Return the turn with the champion's word on every record, or a constant where it fails."""
        plan, now = self.plan, self.clock.now()
        columns = columns_of([record for request in requests for record in request.records])
        known = self.online.known(columns, now)
        degraded = self.online.down is not None
        given = inputs(columns | known.features)
        entities = events.entities(self._entity, columns)
        scores = self._stored(columns, now)
        stored, fallback = ~np.isnan(scores), ""
        try:
            if not stored.any():
                scores = plan.champion.scorer.score(given)
            elif not stored.all():
                scores[~stored] = plan.champion.scorer.score(given.where(~stored))
        except Exception:
            logger.exception("the champion cannot score: %d records get the constant", (~stored).sum())
            scores, fallback = np.where(stored, scores, plan.base), BY_CONSTANT
        fallbacks = np.where(stored, "", fallback).astype(object)
        if (strange := ~((scores >= 0) & (scores <= 1))).any():
            scores, fallbacks = np.where(strange, plan.base, scores), np.where(strange, BY_CONSTANT, fallbacks)
        said = (np.zeros(len(entities), dtype=np.int64), scores, stored, fallbacks)
        return Turn(plan, requests, now, degraded, columns, known, given, entities, plan.assign(entities), *said)

    def _stored(self, columns: Columns, now: datetime) -> Scores:
        """Return the scores that a batch run of the champion has left, [n], NaN where there is none."""
        champion = self.plan.champion.digest
        if not self._precomputed.counts(now, champion):
            return np.full(len(next(iter(columns.values()))), np.nan)
        return np.array(self._precomputed.find(keys_of(columns), now, champion), dtype=np.float64)

    async def _answer_later(self, turn: Turn) -> None:
        """Wait for the challengers, and answer with what came in time."""
        asked = [(rows, asyncio.wrap_future(scores)) for rows, scores in _asked(turn)]
        await asyncio.wait([scores for _, scores in asked], timeout=turn.plan.patience)
        said_by, scores, fallback = turn.said_by.copy(), turn.scores.copy(), turn.fallback.copy()
        stored = turn.stored.copy()
        for rows, told in asked:
            if told.done() and not told.exception():
                said_by[rows], scores[rows], stored[rows], fallback[rows] = turn.arms[rows], told.result(), False, ""
            else:
                told.add_done_callback(_let_go)
                fallback[rows] = np.where(fallback[rows] == "", BY_CHAMPION, fallback[rows])
        self._answer(replace(turn, said_by=said_by, scores=scores, stored=stored, fallback=fallback))

    def _answer(self, turn: Turn) -> Answered:
        """Answer every request of a turn, and have it written down and counted."""
        ids = events.new_request_ids(self._environment, len(turn))
        answered = turn.answered(ids)
        self._journal.answered(answered)
        self._tally.add(answered)
        bundles = [json.dumps(each) for each in turn.plan.bundles]
        told = zip(ids, turn.scores.tolist(), answered.decisions.tolist(), turn.said_by.tolist(), strict=True)
        answers = [  # as Answer says
            f'{{"request_id":"{id}","score":{score!r},"decision":{WORDS[act]},"bundle":{bundles[by]}}}'
            for id, score, act, by in told
        ]
        give(turn.requests, answers)
        return answered


def _let_go(scores: "asyncio.Future[Scores]") -> None:
    """Take note of scores that came too late, or not: the challenger has counted that."""
    if not scores.cancelled():
        scores.exception()


def _asked(turn: Turn) -> Iterator[tuple[NDArray[np.int64], "Future[Scores]"]]:
    """Ask the challengers, and yield which rows each was asked about, and its scores to come."""
    records = turn.records
    for place, challenger in enumerate(turn.plan.challengers, start=1):
        if len(rows := np.flatnonzero(turn.arms == place)):
            yield rows, challenger.ask(turn.given.where(rows), [records[row] for row in rows.tolist()])
