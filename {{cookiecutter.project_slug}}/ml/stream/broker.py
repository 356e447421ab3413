"""Kafka's protocol, and the only place that knows its client: topics, a process's share of a group, and an outbox."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from ml.errors import ContractError
from ml.stream.backoff import Away, Backoff
from ml.stream.counters import COMMITS, LAG
from ml.stream.messages import LONGEST, Letter, Message

BATCH, WAIT = 1000, 0.2  # messages of a batch, and seconds after which a smaller one will do
PATIENCE = 5.0  # seconds for an answer of the broker
MEASURED = 5.0  # seconds between two looks at the lag
MEND = "See [stream] in project.toml"
LOGGED = {"logger": logging.getLogger("kafka")}  # else the client writes to standard error, into our lines
ONLY_A_PERSON = {
    KafkaError._AUTHENTICATION,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
}


class Partition(NamedTuple):
    """A part of a topic, read by one process of a group at a time."""

    topic: str
    number: int


Offsets = Callable[[Sequence[Partition]], Sequence[int | None]]  # up to which partitions were read, None for never


def create(brokers: str, topics: Mapping[str, int]) -> list[str]:
    """Create topics, each of so many partitions, and return those that were not there; raises ContractError."""
    admin, made = AdminClient({"bootstrap.servers": brokers} | LOGGED), []
    try:
        there = admin.list_topics(timeout=PATIENCE).topics
        absent = [NewTopic(name, parts, -1) for name, parts in topics.items() if name not in there]
        for name, answer in (admin.create_topics(absent) if absent else {}).items():
            try:
                answer.result()
                made.append(name)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    except KafkaException as error:
        raise ContractError("stream", f"{brokers}: {error.args[0].str()}", MEND) from error
    return made


class Share:
    """The partitions that a consumer group gives to this process; `where` says from where it reads them."""

    def __init__(self, brokers: str, group: str, topics: list[str], where: Offsets | None = None) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": group,
                "session.timeout.ms": 6000,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "partition.assignment.strategy": "range",
            }
            | LOGGED
        )
        # its questions do not queue behind a fetch that waits
        self._admin = AdminClient({"bootstrap.servers": brokers} | LOGGED)
        self._where, self._backoff, self._measured = where or self.committed, Backoff(), 0.0
        self._mine: list[Partition] | None = None  # None while the group has not decided
        self._next: dict[Partition, int] = {}  # the offset to be done next; while nothing is read, for the lag
        self._placed = False
        self._ended: set[Partition] | None = None  # those of whose end was heard, None while nobody asks
        self._consumer.subscribe(topics, on_assign=self._given, on_revoke=self._revoked)

    def read(self) -> dict[Partition, list[Message]]:
        """Return the next messages of each partition, soon, though there be none; raises Away, or what `where` does."""
        if self._mine is not None and not self._placed and not self._backoff.waiting:
            self._place(self._mine)
        if time.monotonic() > self._measured + MEASURED:
            self._measure()
        found: dict[Partition, list[Message]] = {}
        for read in self._consumer.consume(BATCH, WAIT):  # also while it waits: it would lose its place in the group
            partition = Partition(read.topic(), read.partition())
            if not read.error():
                message = Message(*partition, read.offset(), read.key() or b"", read.value() or b"")
                found.setdefault(partition, []).append(message)
            elif read.error().code() != KafkaError._PARTITION_EOF:
                _stop_unless_passing(read.error())
            elif self._ended is not None:
                self._ended.add(partition)
        return {partition: found[partition] for partition in found if self._placed and partition in self._next}

    def done(self, read: Mapping[Partition, Sequence[Message]]) -> None:
        """Commit that messages were dealt with; raises Away."""
        if not read:
            return
        ends = {partition: messages[-1].offset + 1 for partition, messages in read.items()}
        self._ask(self._consumer.commit, offsets=[_at(*each) for each in ends.items()], asynchronous=False)
        self._next |= ends
        for topic in {partition.topic for partition in read}:
            COMMITS.labels(topic).inc()
        self._backoff.worked()

    def let_go(self) -> None:
        """Read on after a while, from where `where` says then."""
        self._consumer.assign([])
        self._placed = False
        self._backoff.failed()

    def committed(self, partitions: Sequence[Partition]) -> list[int | None]:
        """Return up to where the group has committed; raises Away."""
        told = self._ask(self._consumer.committed, [_at(each) for each in partitions], timeout=PATIENCE)
        return [each.offset if each.offset >= 0 else None for each in told]

    def reached_end(self) -> bool:
        """Say whether each of its partitions was at its end at some time since this was first asked."""
        if self._ended is None:
            self._ended, self._placed = set(), False  # begin anew, since an end that was told already is not told again
            self._consumer.assign([])
        return self._mine is not None and self._placed and self._ended.issuperset(self._mine)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _given(self, _: Consumer, partitions: Iterable[TopicPartition]) -> None:
        self._consumer.assign([])  # nothing is read before it is known from where
        self._mine = [Partition(each.topic, each.partition) for each in partitions]

    def _revoked(self, _: Consumer, __: Iterable[TopicPartition]) -> None:
        self._consumer.unassign()
        for partition in self._mine or []:
            LAG.remove(*map(str, partition))
        self._mine, self._next, self._placed = None, {}, False

    def _place(self, mine: Sequence[Partition]) -> None:
        """Begin to read where `where` says; the broker's oldest where that is nowhere, as in a topic made anew."""
        starts = dict(zip(mine, self._where(mine), strict=True))
        self._consumer.assign([_at(each, OFFSET_BEGINNING if at is None else at) for each, at in starts.items()])
        self._next, self._placed = {each: at or 0 for each, at in starts.items()}, True
        self._ended = None if self._ended is None else set()
        self._measured = 0.0

    def _measure(self) -> None:
        """Tell the lag, also while the store is away and nothing is read."""
        self._measured = time.monotonic()
        asked = {_at(each): OffsetSpec.latest() for each in self._next}
        for at, told in self._admin.list_offsets(asked, request_timeout=PATIENCE).items() if asked else ():
            end, partition = self._ask(told.result).offset, Partition(at.topic, at.partition)
            LAG.labels(*partition).set(max(0, end - self._next[partition]))

    def _ask(self, question: Callable[..., Any], *words: Any, **options: Any) -> Any:
        try:
            return question(*words, **options)
        except KafkaException as error:
            raise Away(error.args[0].str()) from error


class Outbox:
    """Messages to topics."""

    def __init__(self, brokers: str, dead_letters: str) -> None:
        self._producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5} | LOGGED)
        self._dead_letters = dead_letters
        self._failed: KafkaError | None = None

    def send(self, topic: str, key: bytes, value: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a message, which has arrived once `flush` has returned."""
        self._producer.produce(topic, value, key, headers=dict(headers or {}), on_delivery=self._heard)

    def bury(self, letters: Collection[Letter]) -> None:
        """Send dead letters, cut where they are too long, with the reason and whence they came."""
        for (topic, partition, offset, key, value), reason in letters:
            headers = {"reason": reason, "topic": topic, "partition": str(partition), "offset": str(offset)}
            self.send(self._dead_letters, key[:LONGEST], value[:LONGEST], headers)

    def flush(self) -> None:
        """Return once all has arrived; raises Away when it does not, and forgets the rest."""
        waiting = self._producer.flush(PATIENCE)
        if not waiting and not self._failed:
            return
        self._producer.purge()
        with suppress(KafkaException):
            self._producer.flush(PATIENCE)
        failed, self._failed = self._failed, None
        raise Away(failed.str() if failed else f"{waiting} messages were not delivered")

    def _heard(self, error: KafkaError | None, _: object) -> None:
        self._failed = self._failed or error


def _at(partition: Partition, offset: int = OFFSET_INVALID) -> TopicPartition:
    return TopicPartition(*partition, offset)


def _stop_unless_passing(error: KafkaError) -> None:
    """Raise ContractError for what only a person can mend; all else passes, or the client tries again by itself."""
    if error.fatal() or error.code() in ONLY_A_PERSON:
        raise ContractError("stream", error.str(), MEND)
