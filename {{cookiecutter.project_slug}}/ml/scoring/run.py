"""A batch run: plan it and look at a sample, score what is not scored yet, publish; each step goes on where it was."""

import time
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import NamedTuple

from ml.ahead import one_ahead
from ml.contract import bundle as bundles
from ml.contract import clock, release
from ml.errors import ContractError
from ml.online.store import shown
from ml.progress import say
from ml.scoring import plan as plans
from ml.scoring import publish as publishing
from ml.scoring import score as scoring
from ml.scoring.plan import Part, Plan
from ml.settings import settings


class Asked(NamedTuple):
    """What a run is planned from: days of the partitions in `records`, the events in `lake`, and where scores go."""

    bundle: str
    records: str
    lake: str
    scores: str
    since: date
    until: date
    as_of: datetime | None
    chunk_rows: int


def asked(since: date, until: date, as_of: str | None, bundle: str | None, records: str | None) -> Asked:
    """Return what was asked for, by default the champion and the lake; raises ContractError for what cannot be."""
    conf = settings()
    try:
        moment = clock.parse(as_of) if as_of else None
    except ValueError as error:
        raise ContractError("scores", f"--as-of: {error}", "Give it as 2026-11-21T08:00:00Z") from error
    digest = bundles.resolve(conf.store_url, bundle) if bundle else release.read().champion
    partitions = conf.path(records) if records else conf.lake_url
    return Asked(digest, partitions, conf.lake_url, conf.scores_url, since, until, moment, conf.score.chunk_rows)


def plan(asked: Asked) -> str:
    """Plan a run, keep the plan beside its scores to be, and return the run's name; a known plan is as it was.

    Raises ContractError where the partitions, or a sample of their records, are not what the schema says.
    """
    scores = asked.scores
    planned = plans.plan(
        asked.bundle, asked.records, asked.lake, asked.since, asked.until, asked.as_of, asked.chunk_rows
    )
    said = f"{planned.rows:,} records of {len(planned.days)} days are the run {planned.run}"
    if plans.load(scores, planned.run):
        say("plan", f"{said}, which was planned before")
        return planned.run
    from ml.scoring.sample import refuse_broken_sample  # whose library takes seconds to load

    sampled = refuse_broken_sample(planned)
    plans.save(scores, planned)
    say("plan", f"{said}; a sample of {sampled:,} holds all rules")
    return planned.run


def score(run: str, store: str, scores: str, shard: tuple[int, int] = (0, 1)) -> int:
    """Score a planned run, or the days of one of several shards, and return how many records these are."""
    return sum(part.rows for part in _scored(_planned(run, scores), store, scores, shard))


def publish(run: str, scores: str, online: str, ttl_hours: float) -> None:
    """Put a run that was scored whole into the online store, and switch to it."""
    planned = _planned(run, scores)
    _published(planned, publishing.whole(planned, scores), scores, online, ttl_hours)


def score_and_publish(run: str, store: str, scores: str, online: str, ttl_hours: float) -> None:
    """Do both at once: a part is put into the online store while the next is scored."""
    planned = _planned(run, scores)
    _published(planned, one_ahead(_scored(planned, store, scores, (0, 1))), scores, online, ttl_hours)


def _scored(plan: Plan, store: str, scores: str, shard: tuple[int, int]) -> Iterator[Part]:
    """Yield the parts of a shard as they lie there, and say at the end what was done."""
    began, done, there = time.perf_counter(), [], 0
    for part, before in scoring.score(plan, store, scores, plan.shard(*shard)):
        if before:
            there += 1
        else:
            done.append(part.rows)
        yield part
    seconds, rows = time.perf_counter() - began, sum(done)
    speed = f"{rows / seconds:,.0f} records/s; " if done else ""
    said = f"scored {rows:,} records in {len(done):,} files, {there:,} were there already"
    say("score", f"{said}; {speed}in {plans.folder(scores, plan.run)}")


def _published(plan: Plan, parts: Iterable[Part], scores: str, online: str, ttl_hours: float) -> None:
    done = publishing.publish(plan, parts, scores, online, ttl_hours)
    until = done.expires.isoformat(timespec="seconds")
    said = f"{done.rows:,} of {plan.rows:,} scores put into {shown(online)}"
    say("publish", f"{said}; the run {plan.run} of bundle {plan.bundle[:12]} counts until {until}")


def _planned(run: str, scores: str) -> Plan:
    found = plans.load(scores, run)
    if found is None:
        raise ContractError("scores", f"no run {run} is planned in {scores}", "Run `ml score`")
    return found
