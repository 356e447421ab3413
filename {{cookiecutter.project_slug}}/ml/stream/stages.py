"""The two stages between event topics and the online store, each a consumer group of its own.

The first re-keys: one message for each feature group and entity, so that only a partition's owner writes its entities.
The second folds: states, seen ids and the position in the partition are one transaction of the store. What a process
did not commit before it was killed, the next owner does again, and what was done is known by its id.
"""

from collections.abc import Sequence

from ml.contract.clock import Clock
from ml.features.definition import kind_of
from ml.features.updater import Position, take
from ml.online.store import OnlineStore
from ml.problem.schema import EVENTS
from ml.stream.broker import Outbox, Partition, Share
from ml.stream.counters import Tally
from ml.stream.messages import Message, decoded, encoded, rekeyed


class Topics:
    """The names of topics, which begin with a prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix, self.updates, self.dead_letters = prefix, f"{prefix}.updates", f"{prefix}.dead-letters"
        self.events = {f"{prefix}.events.{kind_of(kind)}": kind for kind in EVENTS}


class Sharing:
    """A stage that shares its topics with other processes."""

    _share: Share

    def falter(self) -> None:
        """Do again after a while what was not committed, in Kafka or in the store."""
        self._share.let_go()

    def finished(self) -> bool:
        """Say whether all was done that was there when it was first asked."""
        return self._share.reached_end()

    def close(self) -> None:
        """Leave the group."""
        self._share.close()


class Rekey(Sharing):
    """Events to updates: offsets are committed when the broker has the updates."""

    def __init__(self, brokers: str, topics: Topics, clock: Clock, tally: Tally) -> None:
        self._topics, self._clock, self._tally = topics, clock, tally
        self._share = Share(brokers, f"{topics.prefix}.rekey", [*topics.events])
        self._outbox = Outbox(brokers, topics.dead_letters)

    def step(self) -> None:
        """Re-key a batch; raises Away."""
        read = self._share.read()
        for topic in {partition.topic for partition in read}:
            messages = [message for partition in read if partition.topic == topic for message in read[partition]]
            changes, dead = rekeyed(self._topics.events[topic], messages, self._clock.now())
            for change in changes:
                self._outbox.send(self._topics.updates, *encoded(change))
            self._outbox.bury(dead)
            self._outbox.flush()
            self._tally.read(kind_of(self._topics.events[topic]), len(messages))
            self._tally.buried(topic, len(dead))
        self._share.done(read)


class Fold(Sharing):
    """Updates to states; the position in the store counts, the offset in Kafka is for those who watch the lag."""

    def __init__(self, brokers: str, topics: Topics, store: OnlineStore, tally: Tally) -> None:
        self._store, self._tally = store, tally
        self._positions: dict[Partition, bytes | None] = {}
        self._share = Share(brokers, f"{topics.prefix}.fold", [topics.updates], self._start)
        self._outbox = Outbox(brokers, topics.dead_letters)

    def step(self) -> None:
        """Fold a batch; raises Away, Unavailable, or Overtaken by another owner of a partition."""
        read = self._share.read()
        for partition, messages in read.items():
            self._fold(partition, messages)
        self._share.done(read)

    def _fold(self, partition: Partition, messages: Sequence[Message]) -> None:
        changes, dead = decoded(messages)
        self._outbox.bury(dead)
        self._outbox.flush()
        position = Position(_key(partition), self._positions[partition], b"%d" % (messages[-1].offset + 1))
        take(self._store, changes, position, self._tally.taken)
        self._positions[partition] = position.is_now
        self._tally.buried(partition.topic, len(dead))

    def _start(self, partitions: Sequence[Partition]) -> list[int | None]:
        found = self._store.read([_key(partition) for partition in partitions])
        self._positions = dict(zip(partitions, found, strict=True))
        return [None if position is None else int(position) for position in found]


def _key(partition: Partition) -> bytes:
    return f"position/{partition.topic}/{partition.number}".encode()
