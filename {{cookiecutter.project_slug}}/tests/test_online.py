"""The online store: one port, two real back ends; what is down costs a request its windowed features and no more."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import redis
from conftest import NOON, configured, copy_of_bundle

from ml.errors import ContractError
from ml.features.fold import NEVER
from ml.features.materialize import Feed
from ml.features.online import PAUSE, Online
from ml.features.table import GROUPS, WINDOWED, columns_of_frame, json_of_frame
from ml.online.store import OnlineStore, Unavailable, connect, shown
from ml.serving.server import free_port, running

NOON_OF_APRIL_1 = datetime(2013, 4, 1, 12, tzinfo=UTC)


class Redis:
    """A real Redis that can be stopped and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(redis.RedisError):
                self.client.ping()
                return
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def server_of_redis() -> Iterator[Redis]:
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    found = Redis()
    found.start()
    yield found
    found.stop()


@pytest.fixture(params=["embedded", pytest.param("networked", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "embedded":
        return str(tmp_path / "online")
    return str(request.getfixturevalue("server_of_redis").url)


@pytest.fixture
def store(url: str) -> Iterator[OnlineStore]:
    with contextlib.closing(connect(url)) as found:
        yield found


def put(store: OnlineStore, values: Mapping[bytes, bytes]) -> None:
    store.update(list(values), lambda _: values)


def test_values_come_back_in_the_order_of_the_keys_and_none_for_those_that_are_not_there(store: OnlineStore) -> None:
    put(store, {b"a": b"1", b"b": b"\x00\xff"})
    assert store.read([b"b", b"c", b"a", b"b"]) == [b"\x00\xff", None, b"1", b"\x00\xff"]
    assert store.read([]) == []


def test_what_raises_within_a_change_writes_nothing(store: OnlineStore) -> None:
    put(store, {b"a": b"1"})

    def broken(values: object) -> dict[bytes, bytes]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.update([b"a"], broken)
    assert store.read([b"a"]) == [b"1"]
    put(store, {b"a": b"2"})
    assert store.read([b"a"]) == [b"2"]


COUNT = """
import sys
from ml.online.store import connect
store, keys = connect(sys.argv[1]), (b"one", b"two")
more = lambda values: {key: b"%d" % (int(value or 0) + 1) for key, value in zip(keys, values)}
for _ in range(200):
    store.update(keys, more)
"""


def test_of_writers_at_once_none_undoes_what_another_has_written(store: OnlineStore, url: str) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, url]) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert store.read([b"one", b"two"]) == [b"400", b"400"]


def test_a_directory_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ContractError, match="cannot be written"):
        connect(str(tmp_path / "file"))


def test_an_address_that_is_none_is_told_in_one_line() -> None:
    with pytest.raises(ContractError, match="online store"):
        connect("ftp://somewhere")


@pytest.fixture
def filled(store: OnlineStore, lake: str) -> OnlineStore:
    """A store that knows all that was available at noon of the first of April."""
    Feed(lake, store, NOON_OF_APRIL_1.date()).up_to(int(NOON_OF_APRIL_1.timestamp()))
    return store


def test_each_value_has_the_time_as_of_which_it_is_known(filled: OnlineStore, records: pd.DataFrame) -> None:
    known = Online(filled).known(columns_of_frame(records.iloc[:50]), NOON_OF_APRIL_1)
    assert set(known.as_of) == {group.name for group in GROUPS}
    assert set(known.features) == {feature.name for feature in WINDOWED}
    for group in GROUPS:
        told, now = known.as_of[group.name], NOON_OF_APRIL_1.timestamp()
        assert ((told == NEVER) | (told <= now)).all()
        assert (told > now - 2 * 3600).any() or group.entity == ("tailnum",)


def test_what_has_become_stale_is_unknown(filled: OnlineStore, records: pd.DataFrame) -> None:
    columns = columns_of_frame(records.iloc[:50])
    fresh = Online(filled).known(columns, NOON_OF_APRIL_1).features
    stale = Online(filled).known(columns, NOON_OF_APRIL_1.replace(day=4)).features
    assert any((~np.isnan(values)).any() for values in fresh.values())
    assert all(np.isnan(values).all() for values in stale.values())


def test_what_happens_within_a_second_is_known_at_once(store: OnlineStore, lake: str, records: pd.DataFrame) -> None:
    feed, online = Feed(lake, store, NOON_OF_APRIL_1.date()), Online(store)
    columns = columns_of_frame(records.iloc[:50])
    feed.up_to(int(NOON_OF_APRIL_1.timestamp()) - 3 * 3600)
    before = online.known(columns, NOON_OF_APRIL_1).features
    feed.up_to(int(NOON_OF_APRIL_1.timestamp()))
    after, anew = (each.known(columns, NOON_OF_APRIL_1).features for each in (online, Online(store)))
    for name in after:
        np.testing.assert_array_equal(after[name], anew[name], err_msg=name)
    assert any(not np.array_equal(after[name], before[name], equal_nan=True) for name in after)


@pytest.mark.slow
def test_all_features_of_a_request_are_read_in_one_round_trip(
    server_of_redis: Redis, lake: str, records: pd.DataFrame
) -> None:
    store = connect(server_of_redis.url)
    server_of_redis.client.config_resetstat()
    Online(store).known(columns_of_frame(records), NOON_OF_APRIL_1)
    asked = server_of_redis.client.info("commandstats")
    assert asked["cmdstat_mget"]["calls"] == 1
    assert "cmdstat_get" not in asked


@pytest.mark.slow
def test_a_store_that_is_down_costs_nothing_but_its_features_and_is_found_again(
    server_of_redis: Redis, records: pd.DataFrame, lake: str
) -> None:
    online = Online(connect(server_of_redis.url))
    Feed(lake, connect(server_of_redis.url), NOON_OF_APRIL_1.date()).up_to(int(NOON_OF_APRIL_1.timestamp()))
    columns = columns_of_frame(records.iloc[:20])
    before = online.known(columns, NOON_OF_APRIL_1).features
    assert online.down is None
    server_of_redis.stop()
    began = time.monotonic()
    for _ in range(50):
        assert all(np.isnan(values).all() for values in online.known(columns, NOON_OF_APRIL_1).features.values())
    assert time.monotonic() - began < 5, "each request waits for what is known to be down"
    assert online.down
    server_of_redis.start()
    Feed(lake, connect(server_of_redis.url), NOON_OF_APRIL_1.date()).up_to(int(NOON_OF_APRIL_1.timestamp()))
    time.sleep(PAUSE)
    for name, values in online.known(columns, NOON_OF_APRIL_1).features.items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)
    assert online.down is None


@pytest.mark.slow
def test_the_service_goes_on_with_defaults_says_so_and_recovers_by_itself(
    server_of_redis: Redis, bundle: tuple[str, str], lake: str, records: pd.DataFrame, tmp_path: Path
) -> None:
    copy_of_bundle(bundle, tmp_path)
    sent = json_of_frame(records.iloc[:5])

    def fill() -> None:
        Feed(lake, connect(server_of_redis.url), NOON_OF_APRIL_1.date()).up_to(int(NOON_OF_APRIL_1.timestamp()))

    fill()
    with (
        configured(ML_STORE_URL=tmp_path, ML_RELEASE_BUNDLE=bundle[1], ML_ONLINE_URL=server_of_redis.url),
        running("127.0.0.1", free_port(), "simulated", tmp_path / "serve.log") as service,
        httpx.Client(base_url=service.url, headers=NOON, timeout=60) as client,
    ):
        state = client.get("/readyz").json()
        assert (state["status"], state["online_store"], state["event_log"]) == ("ready", "up", "up")
        full = [answer["score"] for answer in client.post("/predict", json=sent).json()]
        server_of_redis.stop()
        answer = client.post("/predict", json=sent)
        assert answer.status_code == 200
        assert [each["score"] for each in answer.json()] != full
        state = client.get("/readyz")
        assert state.status_code == 200
        assert state.json()["status"] == "degraded"
        assert "ml_online_store_up 0.0" in client.get("/metrics").text
        assert until(lambda: "ml_default_features_total{" in client.get("/metrics").text), "counted a moment later"
        server_of_redis.start()
        fill()
        assert until(lambda: client.get("/readyz").json()["status"] == "ready")
        assert [each["score"] for each in client.post("/predict", json=sent).json()] == full
        assert "ml_online_store_up 1.0" in client.get("/metrics").text


def until(holds: Callable[[], bool], patience: float = 10) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and not holds():
        time.sleep(0.1)
    return holds()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://:secret@host:6379/0", "host:6379/0"),
        ("redis://host:6379/0?password=secret", "redis://host:6379/0"),
        ("/a/folder", "/a/folder"),
    ],
)
def test_no_password_is_ever_printed(url: str, said: str) -> None:
    assert shown(url) == said


def test_an_address_with_a_strange_password_is_refused_without_telling_it() -> None:
    with pytest.raises(ContractError, match="no address of a Redis") as refused:
        connect("redis://:secret/word@host:6379/0")
    assert "secret" not in str(refused.value)


def test_who_takes_the_connection_and_stays_silent_costs_a_quarter_of_a_second() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        contextlib.closing(connect(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")) as store,
    ):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            store.read([b"a"])
        assert time.monotonic() - began < 2


@pytest.mark.slow
def test_a_redis_that_stops_in_the_middle_of_a_transaction_is_unavailable_and_tried_no_longer(
    server_of_redis: Redis,
) -> None:
    called = []

    def change(values: object) -> dict[bytes, bytes]:
        called.append(values)
        server_of_redis.stop()
        return {b"a": b"1"}

    with contextlib.closing(connect(server_of_redis.url)) as store, pytest.raises(Unavailable):
        store.update([b"a"], change)
    assert len(called) == 1


def test_a_redis_that_never_answers_is_unavailable_and_no_crash() -> None:
    store = connect(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(Unavailable):
        store.read([b"a"])
    with pytest.raises(Unavailable):
        put(store, {b"a": b"1"})


def test_a_store_that_was_removed_and_made_anew_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "online"
    with contextlib.closing(connect(str(folder))) as store:
        put(store, {b"a": b"old"})
        shutil.rmtree(folder)
        with pytest.raises(Unavailable):
            store.read([b"a"])
        put_by_another(folder)
        assert store.read([b"a"]) == [b"new"]
        put(store, {b"b": b"2"})
        assert store.read([b"a", b"b"]) == [b"new", b"2"]


def put_by_another(folder: Path) -> None:
    code = f"from ml.online.store import connect; connect({str(folder)!r}).update([b'a'], lambda _: {{b'a': b'new'}})"
    subprocess.run([sys.executable, "-c", code], check=True)
