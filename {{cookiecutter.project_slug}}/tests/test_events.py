"""The event log: what was written is read again, a crash or a full disk costs the lines that it met and no others."""

import os
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.contract.events import SUFFIX, EventLog, Outcome, Prediction, is_request_id, new_request_id, read
from ml.errors import ContractError

NOW = datetime(2013, 4, 1, 12, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[1]

moments = st.datetimes(datetime(1931, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
numbers = st.floats(allow_nan=False, allow_infinity=False)
features = st.dictionaries(st.text(), st.none() | numbers | st.text())
predictions = st.builds(
    Prediction,
    request_id=st.text(),
    time=moments,
    bundle=st.text(),
    score=st.floats(0, 1),
    decision=st.booleans(),
    key=st.dictionaries(st.text(), numbers | st.text()),
    features=features,
)
outcomes = st.builds(Outcome, request_id=st.text(), time=moments, outcome=st.booleans())


def outcome(name: str) -> Outcome:
    return Outcome(request_id=name, time=NOW, outcome=True)


def write(folder: Path, *names: str) -> Path:
    """Write outcomes with these ids and return their segment."""
    log = EventLog(folder)
    log.append([outcome(name) for name in names])
    log.close()
    return max(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)


def ids(folder: Path) -> list[str]:
    return [event["request_id"] for event in read(folder)]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(predictions | outcomes, max_size=4), max_size=4))
def test_what_was_appended_is_read_again_in_order(batches: list[list[Prediction | Outcome]]) -> None:
    with TemporaryDirectory() as folder:
        log = EventLog(Path(folder))
        for batch in batches:
            log.append(batch)
        log.close()
        assert list(read(Path(folder))) == [event.model_dump() for batch in batches for event in batch]


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    segment = write(tmp_path, "a", "b", "c")
    for size in range(segment.stat().st_size - 1, 0, -40):
        with segment.open("r+b") as file:
            file.truncate(size)
        assert ids(tmp_path) == ["a", "b", "c"][: segment.read_bytes().count(b"\n")]


@pytest.mark.parametrize("line", ["{", "[]", "7", '{"request_id": "b"}', '{"time": "noon"}', '{"time": 7}'])
def test_a_broken_line_is_named_by_segment_and_number(tmp_path: Path, line: str) -> None:
    segment = write(tmp_path, "a", "b", "c")
    lines = segment.read_text().splitlines()
    segment.write_text("\n".join([lines[0], line, lines[2]]) + "\n")
    with pytest.raises(ContractError, match=rf"^events: {segment.name} line 2 is no event"):
        ids(tmp_path)


@given(st.text(max_size=12), st.integers(0, 39))
def test_an_id_shows_by_itself_who_gave_it(environment: str, place: int) -> None:
    given_id = new_request_id(environment)
    assert is_request_id(given_id, environment)
    assert not is_request_id(given_id, environment + "x")
    other = "0" if given_id[place] != "0" else "1"
    assert not is_request_id(given_id[:place] + other + given_id[place + 1 :], environment)


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from test_events import EventLog, outcome
log = EventLog(Path(sys.argv[1]))
for turn in range(400):
    log.append([outcome(f"{sys.argv[2]}-{turn}-{row}") for row in range(3)])
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    writers = [subprocess.Popen([*command, name], env=os.environ | paths) for name in ("one", "two")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found = ids(tmp_path)
    assert len(found) == len(set(found)) == 2 * 400 * 3


def test_a_writer_never_opens_another_ones_segment(tmp_path: Path) -> None:
    assert write(tmp_path, "a") != write(tmp_path, "b")
    assert sorted(ids(tmp_path)) == ["a", "b"]


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append([outcome("before")])
    (segment,) = tmp_path.glob(f"*{SUFFIX}")
    size = segment.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))  # room for a part of the next line
    try:
        for _ in range(2):
            with pytest.raises(OSError, match="File too large"):
                log.append([outcome("lost"), outcome("lost")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert segment.stat().st_size == size
    log.append([outcome("after")])
    assert ids(tmp_path) == ["before", "after"]
