"""The event log in order: many segments become one and nobody notices, and who is to be forgotten is."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from conftest import configured, ml

from ml.contract import events, labels
from ml.contract.events import FEATURES, KEY, OUTCOMES, PREDICTIONS, SHADOWS, TABLES
from ml.contract.release import CHAMPION
from ml.errors import ContractError
from ml.eventlog import read, segments, spill, upkeep
from ml.eventlog.read import logged
from ml.labelling.label import label
from ml.settings import settings
from ml.store import files

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
PLAIN = {"text": "x", "number": 0.5, "single": 0.5, "flag": True, "time": NOON}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Where a log of one's own lies."""
    with configured(ML_STORE_URL=tmp_path):
        yield settings().events_url


def segment(url: str, table: str, name: str, **told: Any) -> None:
    """Write a closed segment of rows that are alike but for what is told, a list a column."""
    count = len(next(iter(told.values())))
    row = {column: PLAIN[kind] for column, kind in TABLES[table].items()} | told
    content = segments.closed(pa.Table.from_batches([segments.batch(table, [(row, count)])]))
    files.write(files.join(url, table, f"{name}.parquet"), content)


def test_segments_of_an_hour_that_is_over_become_one_and_who_reads_sees_each_row_once(url: str) -> None:
    names = ["20130401T100000.0-a", "20130401T103000.0-b", "20130401T105959.9-c", "20130401T110000.0-d"]
    for row, name in enumerate([*names, "20130401T120000.0-e", "20130401T120001.0-f"]):
        segment(url, OUTCOMES, name, request_id=[f"{row}", f"{row}+"])
    before = logged(OUTCOMES)
    content = {name: files.read(files.join(url, OUTCOMES, f"{name}.parquet")) for name in names[:3]}
    assert upkeep.compact(url) == 3
    assert len(read.names(url, OUTCOMES)) == 4
    pd.testing.assert_frame_equal(logged(OUTCOMES), before)
    for name in names[:2]:  # as where it was interrupted: what was replaced is there still, or again
        files.write(files.join(url, OUTCOMES, f"{name}.parquet"), content[name])
        pd.testing.assert_frame_equal(logged(OUTCOMES), before)
        hours = list(read.by_hour(OUTCOMES))
        assert [len(rows) for rows in hours] == [6, 2, 4]
        pd.testing.assert_frame_equal(read.frame(OUTCOMES, hours), before)
    assert upkeep.compact(url) == 3
    pd.testing.assert_frame_equal(logged(OUTCOMES), before)
    assert upkeep.compact(url) == 0


@pytest.mark.parametrize("many", [0, 4, 100])
def test_rows_that_were_put_apart_come_back_by_their_key_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(spill, "MANY", many)
    apart = spill.Spill(tmp_path / "apart")
    for part in range(5):
        rows = pa.table({"row": [f"{part}a", f"{part}b", f"{part}+b", "nobody's"]})
        more = rows if part != 3 else rows.append_column("more", pa.array([1.0, 2.0, 3.0, 4.0]))
        apart.add(more, pa.array(["a", "b", "b", None]))
    assert apart.keys == ["a", "b"]
    own = segments.together(apart.of("b"))
    assert own["row"].to_pylist() == [f"{part}{each}" for part in range(5) for each in ("b", "+b")]
    assert [each for each in own["more"].to_pylist() if each] == [2.0, 3.0]
    assert apart.of("c") == []
    assert len(list((tmp_path / "apart").iterdir())) == {0: 10, 4: 4, 100: 0}[many]


def tell(url: str, **told: list[Any]) -> None:
    ids = [f"{row}" for row in range(len(next(iter(told.values()))))]
    segment(url, PREDICTIONS, "20130401T100000.0-a", request_id=ids, arm=[CHAMPION] * len(ids), **told)
    segment(url, SHADOWS, "20130401T100000.0-b", request_id=ids)
    segment(url, OUTCOMES, "20130401T100000.0-c", request_id=ids)


@pytest.mark.parametrize(
    ("field", "value", "column", "rest"),
    [
        ("tailnum", "N1", f"{FEATURES}tailnum", ["1"]),
        ("origin", "EWR", f"{KEY}origin", ["1", "2"]),
        ("flight", "1545", f"{KEY}flight", ["0", "2"]),
    ],
)
def test_who_is_erased_is_nowhere_any_more_and_nobody_else_is_gone(
    url: str, field: str, value: str, column: str, rest: list[str]
) -> None:
    told = {
        f"{FEATURES}tailnum": ["N1", "N2", "N1"],
        f"{KEY}origin": ["EWR", "JFK", "LGA"],
        f"{KEY}flight": [1.0, 1545.0, 2.0],
        "entity": [events.entity("tailnum", each) for each in ("N1", "N2", "N1")],
    }
    tell(url, **told)
    label()
    ran = ml("erase", field, value, ML_STORE_URL=settings().store_url)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"erase     took out {3 - len(rest)} predictions")
    for table in TABLES:
        assert logged(table).request_id.tolist() == rest
    assert labels.read(settings().labels_url).request_id.tolist() == rest
    assert value not in set(logged(PREDICTIONS)[column].astype(str))


def test_what_was_replaced_and_left_behind_is_erased_too(url: str) -> None:
    tell(url, **{f"{KEY}origin": ["EWR", "JFK"]})
    before = files.read(files.join(url, PREDICTIONS, "20130401T100000.0-a.parquet"))
    segment(url, PREDICTIONS, "20130401T103000.0-x", request_id=["2"], **{f"{KEY}origin": ["LGA"]})
    segment(url, PREDICTIONS, "20130401T120000.0-y", request_id=["3"], **{f"{KEY}origin": ["EWR"]})
    upkeep.compact(url)
    files.write(files.join(url, PREDICTIONS, "20130401T100000.0-a.parquet"), before)  # as where it was killed
    gone = upkeep.requests_of(url, "origin", "EWR")
    assert gone == {"0", "3"}
    upkeep.take_out(url, gone)
    assert logged(PREDICTIONS).request_id.tolist() == ["1", "2"]
    assert all(b"EWR" not in file.read_bytes() for file in Path(url, PREDICTIONS).iterdir())


def test_a_number_is_erased_by_its_value_and_what_is_none_is_named(url: str) -> None:
    tell(url, entity=[events.entity("flight", 42.0), events.entity("flight", 43.0)])
    assert upkeep.requests_of(url, "flight", "42") == {"0"}
    with pytest.raises(ContractError, match="'many' is no value of flight"):
        upkeep.requests_of(url, "flight", "many")


def test_a_field_that_the_log_does_not_hold_is_named(url: str) -> None:
    with pytest.raises(ContractError, match=r"the log holds no field 'name'\. Name carrier, "):
        upkeep.requests_of(url, "name", "Jane")
