"""The event log: what was appended is read again; a crash, a full disk or a dead store costs no more than it says."""

import fcntl
import io
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.contract import events
from ml.contract.events import OUTCOMES, TABLES, is_request_id, new_request_ids
from ml.errors import ContractError
from ml.eventlog import log as eventlog
from ml.eventlog import segments, shipping, spool
from ml.eventlog.log import WINDOW, EventLog
from ml.eventlog.read import read
from ml.eventlog.shipping import send
from ml.eventlog.spool import OpenSegment

NOW = datetime(2013, 4, 1, 12, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[1]
OPEN_FOR = 3600  # seconds: no segment is closed but by the end of its log
# Seconds that a thread which is ready to run may be kept waiting: a machine has few cores for many processes, each of
# which takes slices of some hundredths of a second before it.
ALLOWANCE = 1.0

KINDS = "kinds"  # a table with a column of each kind
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "text": st.none() | st.text(),
    "number": st.floats(),
    "single": st.floats(width=32),
    "flag": st.booleans(),
    "time": st.datetimes(
        datetime(1931, 1, 1),
        datetime(2100, 1, 1),
        timezones=st.integers(-14, 14).map(lambda h: timezone(timedelta(hours=h))),
    ),
}


@pytest.fixture(scope="module", autouse=True)
def table_of_all_kinds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TABLES, KINDS, {kind: kind for kind in CELLS})
        yield


def told(*names: str) -> dict[str, Any]:
    """Return outcomes with these ids."""
    return {"request_id": list(names), "time": NOW, "outcome": True, "sender": "me"}


def tell(log: EventLog, *names: str) -> bool:
    return log.append(OUTCOMES, told(*names), len(names))


class Places:
    """Where a log lies: a spool and a folder for closed segments."""

    def __init__(self, folder: Path) -> None:
        self.spool, self.url = folder / "spool", str(folder / "log")

    def log(self, seconds: float = OPEN_FOR, **more: Any) -> EventLog:
        return EventLog(self.spool, self.url, seconds, **more)

    def ids(self) -> list[str]:
        return read(self.url, OUTCOMES, self.spool).request_id.tolist()

    def sent(self) -> list[str]:
        return read(self.url, OUTCOMES).request_id.tolist()

    def segment(self) -> Path:
        (found,) = self.spool.glob(f"{OUTCOMES}/*{segments.OPEN}")
        return found


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def eventually(true: Callable[[], bool], patience: float = 30) -> bool:
    deadline = time.monotonic() + patience
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


DTYPES = {"text": object, "number": "f8", "single": "f4", "flag": "?", "time": "M8[us]"}


@st.composite
def columns(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """Draw a part of the table, each column a list, an array or one value for all, and its rows."""
    count, part, values = draw(st.integers(0, 3)), {}, []
    for kind, cell in CELLS.items():
        form = draw(st.sampled_from(["list", "array", "one"]))
        own = [draw(cell)] * count if form == "one" and count else draw(st.lists(cell, min_size=count, max_size=count))
        plain = [each.astimezone(UTC).replace(tzinfo=None) for each in own] if kind == "time" else own
        part[kind] = np.array(plain, DTYPES[kind]) if form == "array" else own if form == "list" or not own else own[0]
        values.append([each if each == each else None for each in own])
    return part, list(zip(*values, strict=True))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(columns(), st.booleans()), max_size=5))
def test_what_was_appended_is_read_again_in_order(parts: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        places, rows = Places(Path(folder)), []
        log = places.log()
        for (part, values), write_now in parts:
            rows += values
            assert log.append(KINDS, part, len(values))
            if write_now:
                log.flush()
        log.flush()
        for where in (places.spool, None):
            found = read(places.url, KINDS, where).astype(object)
            found = found.where(found.notna(), None)
            assert list(found.itertuples(index=False, name=None)) == rows
            log.close()


def test_rows_of_several_segments_come_in_the_order_in_which_these_were_begun(places: Places) -> None:
    for name in "cab":
        log = places.log()
        tell(log, name)
        log.close()
    assert places.sent() == ["c", "a", "b"]


def batches(folder: Path) -> tuple[bytes, list[int]]:
    """Return an open segment of three batches, and how long it was after each."""
    segment, sizes = OpenSegment(folder, OUTCOMES), []
    for names in (["a", "b"], ["c"], ["d", "e", "f"]):
        segment.append(segments.batch(OUTCOMES, [(told(*names), len(names))]))
        sizes.append(next((folder / OUTCOMES).iterdir()).stat().st_size)
    segment.close()
    return next((folder / OUTCOMES).iterdir()).read_bytes(), sizes


def test_of_a_segment_that_is_cut_anywhere_the_whole_batches_are_read_and_nothing_else(tmp_path: Path) -> None:
    content, sizes = batches(tmp_path)
    for size in range(len(content) + 1):
        found = segments.read_open(io.BytesIO(content[:size]))
        names = [] if found is None else found["request_id"].to_pylist()
        assert names == list("abcdef")[: [0, 2, 3, 6][sum(whole <= size for whole in sizes)]], size
        assert found is None or set(found["outcome"].to_pylist()) <= {True}


@pytest.mark.parametrize("whole", range(3))
@pytest.mark.parametrize("torn", [-1, 0, 1])
def test_a_cut_segment_is_sent_as_far_as_it_is_whole(places: Places, whole: int, torn: int) -> None:
    _, sizes = batches(places.spool)
    os.truncate(places.segment(), sizes[whole] + (torn if whole < 2 or torn < 1 else 0))
    expected = list("abcdef")[: [0, 2, 3, 6][whole if torn < 0 else whole + 1]]
    assert places.ids() == expected
    assert send(places.spool, places.url) == 1
    assert spool.names(places.spool, OUTCOMES) == []
    assert places.sent() == expected


def test_a_damaged_segment_ends_no_process(tmp_path: Path) -> None:
    (tmp_path / "segment").write_bytes(batches(tmp_path / "spool")[0])
    program = """
import io, random, sys
from pathlib import Path
from ml.eventlog import segments
content, chance = Path(sys.argv[1]).read_bytes(), random.Random(0)
for _ in range(2000):
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        damaged[chance.randrange(len(content))] = chance.randrange(256)
    found = segments.read_open(io.BytesIO(bytes(damaged)))
    if found is not None:
        segments.closed(found)
"""
    words = [sys.executable, "-c", program, str(tmp_path / "segment")]
    assert subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False).returncode == 0


WRITER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from ml.eventlog.log import EventLog
log = EventLog(Path(sys.argv[1], "spool"), str(Path(sys.argv[1], "log")), float(sys.argv[3]))
for row in range(int(sys.argv[4])):
    told = {"request_id": [f"{sys.argv[2]}{row}"], "time": datetime.now(UTC), "outcome": True, "sender": "me"}
    log.append("outcomes", told, 1)
    print(time.monotonic(), flush=True)
    time.sleep(0.002)
log.close()
"""


def writer(folder: Path, name: str, seconds: float, rows: int, **more: Any) -> "subprocess.Popen[str]":
    """Start a process that appends rows with ids <name>0, <name>1, ... and prints when it has appended each."""
    paths = {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", WRITER, str(folder), name, str(seconds), str(rows)]
    return subprocess.Popen(words, env=os.environ | paths, text=True, **more)


def test_a_killed_process_loses_a_window_at_most_and_the_next_one_sends_what_it_left(
    places: Places, tmp_path: Path
) -> None:
    process = writer(tmp_path, "", OPEN_FOR, 10**6, stdout=subprocess.PIPE)
    assert process.stdout
    times = [float(process.stdout.readline())]
    while times[-1] - times[0] < WINDOW + ALLOWANCE + 1:
        times.append(float(process.stdout.readline()))
    assert send(places.spool, places.url) == 0, "nobody takes what a living process writes"
    killed = time.monotonic()
    process.send_signal(signal.SIGKILL)
    times += map(float, process.communicate()[0].split())
    found = places.ids()
    assert found == [str(row) for row in range(len(found))]
    assert WINDOW <= 0.2, "as docs and settings say"
    assert len(found) >= sum(each < killed - WINDOW - ALLOWANCE for each in times) > 100
    places.log().close()
    assert places.sent() == found
    assert spool.names(places.spool, OUTCOMES) == []


def test_two_writers_at_once_lose_nothing_while_both_send_all_the_time(places: Places, tmp_path: Path) -> None:
    writers = [writer(tmp_path, name, 0.05, 400, stdout=subprocess.DEVNULL) for name in "ab"]
    assert [each.wait(60) for each in writers] == [0, 0]
    send(places.spool, places.url)  # each may have left what the other one was just looking at
    found = places.sent()
    assert len(found) == 2 * 400
    for name in "ab":
        assert [each for each in found if each[0] == name] == [f"{name}{row}" for row in range(400)]
    assert len(list(Path(places.url, OUTCOMES).iterdir())) > 4, "many segments"


def test_nobody_takes_a_segment_that_is_written_nor_one_that_is_just_being_made(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, looked = fcntl.flock, []

    def look_before_it_is_locked(file: Any, how: int) -> None:
        if how == fcntl.LOCK_EX:
            looked.append(send(places.spool, places.url))
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", look_before_it_is_locked)
    segment = OpenSegment(places.spool, OUTCOMES)
    assert looked == [0]
    for name in "ab":
        segment.append(segments.batch(OUTCOMES, [(told(name), 1)]))
        assert send(places.spool, places.url) == 0
    assert places.ids() == ["a", "b"]
    segment.close()
    assert send(places.spool, places.url) == 1
    assert places.sent() == ["a", "b"]


def test_segments_are_closed_and_sent_when_their_time_is_over_also_where_nothing_follows(places: Places) -> None:
    log = places.log(seconds=0.1)
    tell(log, "a")
    assert eventually(lambda: places.sent() == ["a"])
    assert spool.names(places.spool, OUTCOMES) == []
    tell(log, "b")
    assert eventually(lambda: places.sent() == ["a", "b"])
    log.close()


def test_a_full_segment_is_closed_before_its_time(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "FULL", 100)
    log = places.log()
    tell(log, "a")
    assert eventually(lambda: places.sent() == ["a"])
    log.close()


def test_a_place_that_cannot_be_written_at_first_gets_everything_later(
    places: Places, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shipping, "AGAIN", 0.05)
    Path(places.url).write_text("a file where a folder should be")
    for name in "abc":
        log = places.log()
        tell(log, name)
        log.close()
    assert len(spool.names(places.spool, OUTCOMES)) == 3
    caplog.clear()
    log = places.log(seconds=0.05)
    tell(log, "d")
    assert eventually(lambda: len(spool.names(places.spool, OUTCOMES)) == 4)
    time.sleep(10 * shipping.AGAIN)
    assert len(caplog.records) == 1, "it is tried often, and said once"
    Path(places.url).unlink()
    assert eventually(lambda: places.sent() == list("abcd"))
    log.close()
    assert spool.names(places.spool, OUTCOMES) == []


def test_what_a_full_disk_does_not_take_waits_in_memory_and_is_written_afterwards(places: Places) -> None:
    log = places.log()
    tell(log, "before")
    log.flush()
    size = places.segment().stat().st_size
    with full_disk(size + 20):  # room for a part of the next batch
        for name in "ab":
            assert tell(log, name)
            with pytest.raises(OSError, match="File too large"):
                log.flush()
        assert log.failing
        assert places.segment().stat().st_size == size
        assert places.ids() == ["before"]
    log.flush()
    assert not log.failing
    tell(log, "after")
    log.flush()
    assert places.ids() == ["before", "a", "b", "after"]
    log.close()
    assert places.sent() == ["before", "a", "b", "after"]


def test_what_there_is_no_room_for_is_counted_and_what_waits_never_grows_beyond_it(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog, "CAPACITY", 10)
    lost: list[int] = []
    log = places.log(lost=lost.append)
    kept = []
    with full_disk(20):
        for turn in range(8):  # a writing is tried in between
            names = [f"{turn}{each}" for each in "xyz"]
            kept += names if tell(log, *names) else []
            with pytest.raises(OSError, match="File too large"):
                log.flush()
        assert len(kept) == 9
        assert lost == [3] * 5
        assert tell(log, "last")
        assert not tell(log, "one too many")
    log.flush()
    assert places.ids() == [*kept, "last"]
    assert tell(log, *"0123456789")
    log.close()


def test_a_part_that_is_none_of_the_table_costs_its_own_rows_alone(places: Places) -> None:
    lost: list[int] = []
    log = places.log(lost=lost.append)
    tell(log, "a")
    log.append(OUTCOMES, told("b", "b") | {"outcome": ["perhaps", None]} | {"sender": 7}, 2)
    log.append(OUTCOMES, {"request_id": ["c"]}, 1)
    tell(log, "d")
    log.flush()
    tell(log, "e")
    log.close()
    assert places.sent() == ["a", "d", "e"]
    assert lost == [2, 1]


def test_what_flush_has_returned_for_can_be_read(places: Places) -> None:
    log = places.log(seconds=0.05)
    for row in range(60):
        tell(log, str(row))
        log.flush()
        assert str(row) in places.ids()
    log.close()


def test_who_reads_while_segments_are_sent_sees_every_row_once(places: Places) -> None:
    log, written, over = places.log(seconds=0.02), [0], threading.Event()

    def write() -> None:
        while not over.is_set():
            tell(log, str(written[0]))
            log.flush()
            written[0] += 1
            time.sleep(0.005)
        log.close()

    writing = threading.Thread(target=write)
    writing.start()
    sent, reads, deadline = Path(places.url, OUTCOMES), 0, time.monotonic() + 60
    try:
        while time.monotonic() < deadline and (reads < 20 or len(list(sent.glob("*"))) < 10):
            before, reads = written[0], reads + 1
            found = [int(name) for name in places.ids()]
            assert all(one < next_one for one, next_one in pairwise(found)), "in order, and none twice"
            assert {*range(before)} <= {*found}
    finally:
        over.set()
        writing.join()
    assert places.sent() == [str(row) for row in range(written[0])]


def test_what_is_no_segment_is_named(places: Places) -> None:
    Path(places.url, OUTCOMES).mkdir(parents=True)
    Path(places.url, OUTCOMES, "20130401T120000.000000-torn.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ContractError, match=r"^events: .*-torn\.parquet is no segment"):
        places.ids()


def test_an_empty_log_has_its_columns(places: Places) -> None:
    found = read(places.url, events.PREDICTIONS, places.spool)
    assert len(found) == 0
    assert list(found) == list(TABLES[events.PREDICTIONS])


def test_segments_of_before_and_after_a_change_of_columns_are_read_together(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kinds, part in (
        ({"gone": "number", "kind": "number"}, {"gone": [1.0, 2.0], "kind": [1.5, np.nan]}),
        ({"kind": "text", "new": "text"}, {"kind": ["many", None], "new": ["x", "y"]}),
    ):
        monkeypatch.setitem(TABLES, KINDS, kinds)
        log = places.log()
        log.append(KINDS, part, 2)
        log.close()
    found = read(places.url, KINDS).astype(object)
    assert list(found) == ["kind", "new", "gone"]
    assert found.where(found.notna(), None).to_numpy().tolist() == [
        ["1.5", None, 1.0],
        [None, None, 2.0],
        ["many", "x", None],
        [None, "y", None],
    ]


def test_a_segment_that_was_made_of_others_takes_their_place(places: Places) -> None:
    for name in "ab":
        log = places.log()
        tell(log, name)
        log.close()
    folder = Path(places.url, OUTCOMES)
    names = sorted(file.stem for file in folder.iterdir())
    both = segments.together([segments.read_closed((folder / f"{name}.parquet").read_bytes())[0] for name in names])
    (folder / "20130401T120000.000000-both.parquet").write_bytes(segments.closed(both, replaces=names))
    assert places.sent() == ["a", "b"]


@pytest.mark.slow
def test_who_reads_and_ends_at_once_ends_well(places: Places) -> None:
    log = places.log()
    tell(log, "a")
    log.close()
    code = "import io, sys; from ml.eventlog import segments; segments.read_closed(open(sys.argv[1], 'rb').read())"
    words = [sys.executable, "-c", code, str(next(Path(places.url, OUTCOMES).iterdir()))]
    readers = [subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(ROOT)}) for _ in range(6)]
    assert [each.wait(60) for each in readers] == [0] * 6


def test_writing_and_sending_loads_no_data_frames(tmp_path: Path) -> None:
    words = [sys.executable, "-c", WRITER + "print('pandas' in sys.modules)", str(tmp_path), "a", "60", "1"]
    ran = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert ran.stdout.split()[-1] == "False"
    assert Places(tmp_path).sent() == ["a0"]


@given(st.text(max_size=12), st.integers(0, 39))
def test_an_id_shows_by_itself_who_gave_it(environment: str, place: int) -> None:
    given_id, another = new_request_ids(environment, 2)
    assert given_id != another
    assert is_request_id(given_id, environment)
    assert is_request_id(another, environment)
    assert not is_request_id(given_id, environment + "x")
    other = "0" if given_id[place] != "0" else "1"
    assert not is_request_id(given_id[:place] + other + given_id[place + 1 :], environment)
