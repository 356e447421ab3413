"""Runs the stream until told to stop: from Kafka's topics, or from files, into the online store."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Protocol

from ml import logs
from ml.contract.clock import Clock
from ml.errors import ContractError
from ml.features.updater import Overtaken
from ml.online.store import OnlineStore, Unavailable, connect, shown
from ml.problem.schema import EVENTS
from ml.progress import say
from ml.settings import settings
from ml.stream import counters
from ml.stream.backoff import Away
from ml.stream.counters import Tally

TRIES = 100  # rounds in a row that fail before one who reads once gives up: half a minute and more
PARTITIONS = 12  # of a topic that was not there: so many processes can share it


class Stage(Protocol):
    """A part of the way from events to states."""

    def step(self) -> None:
        """Do a batch; raises Unavailable, Overtaken or Away when it has to be done again."""

    def falter(self) -> None:
        """Do again after a while what was not done."""

    def finished(self) -> bool:
        """Say whether all was done that was there when it was first asked."""

    def close(self) -> None:
        """Let go of the source."""


def stream(once: bool) -> None:
    """Keep the online store fresh until told to stop, or once through what is there; raises ContractError."""
    logs.configure()
    if not EVENTS:
        raise ContractError("stream", "there are no events in ml/problem/schema.py", "Nothing has to be streamed")
    tally, conf = Tally(), settings().stream
    if conf.metrics_port:
        counters.serve(conf.metrics_host, conf.metrics_port)
    with ExitStack() as held:
        store = held.enter_context(closing(connect(settings().online_url)))
        stages = _stages(store, tally)
        for stage in stages:
            held.enter_context(closing(stage))
        told = held.enter_context(_told_to_stop())
        failures, finished = 0, False
        while not told() and not (once and finished):
            finished, failed = _round(stages, once)
            failures = failures + 1 if failed else 0
            if once and failures > TRIES:
                raise ContractError("stream", f"tried {failures} times: {failed}", "See [stream] and [online]")
    updates = f"{tally.folded} folded, {tally.duplicate} duplicate, {tally.late} late"
    say("stream", f"read {tally.events} events; updates: {updates}; {tally.dead} dead letters")


def _stages(store: OnlineStore, tally: Tally) -> Sequence[Stage]:
    """Return the stages, and say what they read and write."""
    conf, clock = settings().stream, Clock("wall")
    target = shown(settings().online_url)
    if not conf.brokers:
        from ml.stream.inbox import Inbox, strangers

        inbox = settings().path(conf.inbox)
        say("stream", f"reads {inbox}, writes {target}")
        for name in strangers(inbox):
            say("stream", f"passes over {name}, no kind of events is called so")
        return [Inbox(inbox, store, clock, tally)]
    from ml.stream.broker import create  # who reads files needs no Kafka
    from ml.stream.stages import Fold, Rekey, Topics

    topics = Topics(conf.topic_prefix)
    parts = dict.fromkeys([*topics.events, topics.updates], PARTITIONS) | {topics.dead_letters: 1}
    made = create(conf.brokers, parts)
    created = f" (created {', '.join(made)})" if made else ""
    say("stream", f"reads {topics.prefix}.events.* at {conf.brokers}{created}, writes {target}")
    return [Rekey(conf.brokers, topics, clock, tally), Fold(conf.brokers, topics, store, tally)]


def _round(stages: Sequence[Stage], once: bool) -> tuple[bool, str]:
    """Let each stage do a batch; return whether that was all, if asked, and what did not answer and is tried again."""
    finished, failed = once, ""
    for stage in stages:
        try:
            stage.step()
            finished = finished and stage.finished()
        except (Unavailable, Overtaken, Away) as error:
            finished, failed = False, str(error)
            say("stream", f"tries again: {error}")
            stage.falter()
    return finished, failed


@contextmanager
def _told_to_stop() -> Iterator[Callable[[], bool]]:
    """Yield what says whether a signal came: the batch is finished first, unless a second signal comes."""
    told = []

    def hear(number: int, _: Any) -> None:
        told.append(number)
        signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(told)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
