"""Precomputed scores in the online store: put by the thousand, forgotten in time, and read of one whole run only."""

# ruff: noqa: F811 - fixtures are arguments

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_online import Redis, server_of_redis, store, url  # noqa: F401

from ml.features import precomputed
from ml.features.precomputed import POINTER, SCORE, Pointer, Precomputed, name_of, table
from ml.features.table import columns_of, keys_of
from ml.online.store import OnlineStore, connect
from ml.problem.schema import EXAMPLE, Record
from ml.scoring import publish as publishing
from ml.scoring import switch
from ml.scoring.plan import Partition, Plan
from ml.scoring.score import NAME

NOW = datetime.now(UTC)
SOON = NOW + timedelta(hours=1)


def test_many_values_are_put_into_a_table_and_go_with_it(store: OnlineStore) -> None:
    many = {b"%d" % number: b"%d" % number for number in range(60_000)}
    others = {b"run": b"a", b"run0": b"b", b"run*0": b"c", b"\xff": b"d"}
    store.put(b"run*", many.items(), SOON)
    for each, value in others.items():
        store.put(each, [(b"0", value)], SOON)
    assert store.look_up(b"run*", [b"none", *many, b"\xff", b"0"]) == [None, *many.values(), None, b"0"]
    store.drop(b"run*")
    assert set(store.look_up(b"run*", list(many))) == {None}
    assert [store.look_up(each, [b"0"]) for each in others] == [[value] for value in others.values()]
    store.drop(b"\xff")
    store.drop(b"nothing")
    assert [store.look_up(each, [b"0"]) for each in others] == [[b"a"], [b"b"], [b"c"], [None]]
    assert store.look_up(b"run", []) == []


@pytest.mark.slow
def test_redis_forgets_a_table_when_it_expires_and_no_other(server_of_redis: Redis) -> None:
    names = [bytes([first]) for first in range(256)]
    with contextlib.closing(connect(server_of_redis.url)) as store:
        store.put(b"soon", [(name, b"1") for name in names], datetime.now(UTC) + timedelta(seconds=0.5))
        store.put(b"late", [(b"name", b"2")], SOON)
        assert [*store.look_up(b"soon", names), *store.look_up(b"late", [b"name"])] == [b"1"] * 256 + [b"2"]
        time.sleep(0.6)
        assert {key.partition(b"/")[0] for key in server_of_redis.client.scan_iter()} == {b"late"}


def counts(store: OnlineStore, run: str, scores: Mapping[bytes, float], expires: datetime = SOON) -> None:
    """Put a run of bundle `b` and let it count."""
    store.put(table(run), [(name, SCORE.pack(score)) for name, score in scores.items()], expires)
    pointer = Pointer(run, "b", expires.timestamp()).dump()
    store.update([POINTER], lambda _: {POINTER: pointer})


KEYS = [{"a": "x", "b": float(number)} for number in range(5)]
NAMES = [name_of(key.values()) for key in KEYS]


def test_scores_are_found_by_key_and_none_for_what_was_not_computed(store: OnlineStore) -> None:
    assert Precomputed(store).find(KEYS, NOW, "b") == [None] * 5
    counts(store, "one", {name_of(key.values()): place / 7 for place, key in enumerate(KEYS[:3])})
    found = Precomputed(store)
    assert found.find(KEYS, NOW, "b") == [0.0, 1 / 7, 2 / 7, None, None]
    assert found.find(KEYS[1:2], NOW, "b") == [1 / 7]
    assert found.find([], NOW, "b") == []


def test_scores_of_another_bundle_and_expired_ones_are_none(store: OnlineStore) -> None:
    counts(store, "one", dict.fromkeys(NAMES, 0.5))
    found = Precomputed(store)
    assert found.find(KEYS, SOON - timedelta(seconds=1), "b") == [0.5] * 5
    assert found.find(KEYS, SOON, "b") == [None] * 5
    assert found.find(KEYS, NOW, "c") == [None] * 5


def test_a_pointer_is_read_anew_after_a_while_and_not_before(
    store: OnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 1000.0
    monkeypatch.setattr(precomputed.time, "monotonic", lambda: moment)
    found = Precomputed(store)
    for run, score in (("one", 0.1), ("two", 0.2)):
        counts(store, run, dict.fromkeys(NAMES, score))
        assert found.find(KEYS, NOW, "b") == [0.1] * 5
    moment += precomputed.REFRESH
    assert found.find(KEYS, NOW, "b") == [0.2] * 5


@pytest.mark.parametrize("change", [("a", "y"), ("b", 1.0), ("a", None), ("b", "0.0"), ("a", "é")])
def test_another_key_has_another_name(change: tuple[str, object]) -> None:
    assert name_of({**KEYS[0], change[0]: change[1]}.values()) != name_of(KEYS[0].values())
    assert len(name_of(KEYS[0].values())) == 16


def test_a_name_is_the_same_in_every_release_and_process() -> None:
    (key,) = keys_of(columns_of([Record.model_validate_json(json.dumps(EXAMPLE))]))
    assert name_of(key.values()).hex() == "61c747c75f588758e96350a2e3051914"


@pytest.mark.slow
def test_a_store_that_is_down_costs_no_request_its_answer_is_left_alone_and_found_again(
    server_of_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(connect(server_of_redis.url)) as store:
        counts(store, "one", dict.fromkeys(NAMES, 0.5))
        found = Precomputed(store)
        assert found.find(KEYS, NOW, "b") == [0.5] * 5
        server_of_redis.stop()
        moment = time.monotonic()
        monkeypatch.setattr(precomputed, "time", SimpleNamespace(monotonic=lambda: moment))
        assert found.find(KEYS, NOW, "b") == [None] * 5
        server_of_redis.start()
        counts(store, "one", dict.fromkeys(NAMES, 0.5))
        assert found.find(KEYS, NOW, "b") == [None] * 5, "each request would wait for what is known to be down"
        moment += precomputed.REFRESH
        assert found.find(KEYS, NOW, "b") == [0.5] * 5


@pytest.mark.slow
def test_a_request_costs_one_round_trip_and_the_pointer_another_a_second(server_of_redis: Redis) -> None:
    with contextlib.closing(connect(server_of_redis.url)) as store:
        counts(store, "one", dict.fromkeys(NAMES, 0.5))
        store.read([POINTER])  # and the reader is connected
        before = server_of_redis.client.info("stats")["total_reads_processed"]
        found, began = Precomputed(store), time.monotonic()
        for _ in range(20):
            found.find(KEYS, NOW, "b")
        seconds = time.monotonic() - began
        trips = server_of_redis.client.info("stats")["total_reads_processed"] - before - 1  # but for this one
        assert 21 <= trips <= 21 + seconds / precomputed.REFRESH


ROWS = 2000
READER = """
import sys
from datetime import UTC, datetime
from ml.features import precomputed
from ml.online.store import connect
precomputed.REFRESH = 0.01
found = precomputed.Precomputed(connect(sys.argv[1]))
keys, seen, reads = [{"row": float(row)} for row in range(int(sys.argv[2]))], [], 0
print("ready", flush=True)
while seen[-1:] != [-1.0]:
    scores = found.find(keys, datetime.now(UTC), "b")
    reads += 1
    if len(set(scores)) != 1:
        sys.exit(f"half of a run: {set(scores)}")
    if scores[0] != (seen[-1] if seen else None):
        seen.append(scores[0])
print(len(seen), reads)
"""


def run_of(score: float, scores: Path) -> Plan:
    """Write a run all of whose records have one score, in two files, and return its plan."""
    day = NOW.date()
    named = {"bundle": "b", "records": str(score), "lake": "", "as_of": None, "chunk_rows": ROWS // 2}
    run = Plan(**named, days={day: Partition(ROWS, "")})
    names = [name_of([float(row)]) for row in range(ROWS)]
    for part, own in zip(run.parts(), np.array_split(np.array(names, object), 2), strict=True):
        (scores / run.run / part.name).parent.mkdir(parents=True, exist_ok=True)
        table = pa.table({NAME: pa.array(own.tolist(), pa.binary(16)), "score": np.full(part.rows, score)})
        pq.write_table(table, scores / run.run / part.name)
    return run


def switch_to(store: OnlineStore, score: float, scores: Path) -> None:
    run = run_of(score, scores)
    publishing.put(store, run, run.parts(), str(scores), timedelta(hours=1))


@pytest.fixture
def reader(url: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", READER, url, str(ROWS)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_reader_sees_a_whole_run_or_the_one_before_while_runs_come_and_go(
    url: str, reader: "subprocess.Popen[str]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch, "GRACE", 1.0)  # a hundred times as long as this reader believes a pointer
    with contextlib.closing(connect(url)) as store:
        began, runs = time.monotonic(), 0
        while time.monotonic() - began < 6 and reader.poll() is None:
            runs += 1
            switch_to(store, runs / 1000, tmp_path)
            time.sleep(0.05)
        first = table(run_of(1 / 1000, tmp_path).run)
        assert store.look_up(first, [name_of([0.0])]) == [None], "earlier runs were removed meanwhile"
        switch_to(store, -1.0, tmp_path)
        out, errors = reader.communicate(timeout=30)
    assert reader.returncode == 0, errors
    seen, reads = map(int, out.split())
    assert seen > min(runs, 20) / 2
    assert reads > seen
