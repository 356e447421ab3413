"""Raw data that breaks the schema stops the flow: the error names column, rule, count and three values.

All tests of Great Expectations are here: one worker imports it, once.
"""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from ml.errors import ContractError
from ml.features.rows import records_of
from ml.problem.schema import KEY
from ml.training.register import Made, register
from ml.training.validate import validate

FIRST, LAST = date(2013, 1, 2), date(2013, 1, 3)

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture(scope="module")
def good(lake: str) -> pd.DataFrame:
    """Two days of real records."""
    return records_of(lake, [FIRST, LAST])


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., None]:
    """Validate a frame as the flow does, report and Data Docs in `tmp_path`."""

    def run(frame: pd.DataFrame, until: date = LAST) -> None:
        frame.to_parquet(tmp_path / "records")
        validate(tmp_path / "records", FIRST, until, tmp_path / "report.json", tmp_path / "docs")

    return run


def put(column: str, rows: list[int], value: object) -> Change:
    """Return what puts a value into some rows of a column."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].astype(object) if value is None else frame[column].copy()
        values.loc[rows] = value
        return frame.assign(**{column: values})

    return change


def cast(column: str, kind: str) -> Change:
    return lambda frame: frame.assign(**{column: frame[column].astype(kind)})


BROKEN: dict[str, tuple[Change, str]] = {
    "a missing column": (lambda frame: frame.drop(columns="dest"), "dest: column to exist"),
    "no target": (lambda frame: frame.drop(columns="disrupted"), "disrupted: column to exist"),
    "numbers as texts": (
        cast("distance", "str"),
        "distance: column values to be in type list: 1,857 rows, such as '529', '1400', '1416'",
    ),
    "texts as numbers": (
        lambda frame: frame.assign(carrier=7),
        "carrier: column values to be in type list: found int64",
    ),
    "fractions of a whole number": (
        lambda frame: frame.assign(distance=frame.distance + 0.5),
        "distance: column values to be in type list: 1,857 rows, such as 529.5, 1400.5, 1416.5",
    ),
    "times as texts": (
        cast("scheduled_departure", "str"),
        "scheduled_departure: column values to be in type list: 1,857 rows, such as '2013-01-02 10:00:00+00:00', ",
    ),
    "times without a zone": (
        lambda frame: frame.assign(scheduled_departure=frame.scheduled_departure.dt.tz_localize(None)),
        "scheduled_departure: column values to be in type list: 1,857 rows, such as '2013-01-02T10:00:00', ",
    ),
    "absent times": (
        put("scheduled_departure", [3, 4, 5, 6], None),
        "scheduled_departure: column values to not be null: 4 rows",
    ),
    "an impossible value": (
        put("distance", [1, 5, 7, 9], -7),
        "distance: column values to be between (min_value 10.0, max_value 10000.0): 4 rows, such as -7, -7, -7",
    ),
    "an infinite value": (
        lambda frame: frame.assign(aircraft_seats=float("inf")),
        "aircraft_seats: column values to be in type list: 1,857 rows, such as inf, inf, inf",
    ),
    "a text of another form": (
        put("origin", [1, 5], "Newark"),
        "origin: column values to match regex (regex ^[A-Z]{3}$): 2 rows, such as 'Newark', 'Newark'",
    ),
    "an absent required value": (put("dest", [3], None), "dest: column values to not be null: 1 rows"),
    "duplicate keys": (
        lambda frame: pd.concat([frame, frame.iloc[:3]], ignore_index=True),
        f"{', '.join(KEY)}: compound columns to be unique: 6 rows, such as {{'carrier': 'US', 'flight': 1030, ",
    ),
    "one class only": (
        lambda frame: frame.assign(disrupted=0),
        "disrupted: column distinct values to contain set (value_set [0, 1]): no row has 1",
    ),
    "a label that is neither 0 nor 1": (
        put("disrupted", [4, 8], 2),
        "disrupted: column values to be in set (value_set [0, 1]): 2 rows, such as 2, 2",
    ),
    "labels as words": (
        lambda frame: frame.assign(disrupted=frame.disrupted.map({0: "no", 1: "yes"})),
        "disrupted: column values to be in set (value_set [0, 1]): 1,857 rows, such as 'no', 'no', 'no'",
    ),
    "absent labels": (
        lambda frame: frame.assign(disrupted=frame.disrupted.where(frame.index > 5)),
        "disrupted: column values to not be null: 6 rows",
    ),
    "too few rows": (
        lambda frame: frame.iloc[:100],
        "table: table row count to be between (min_value 1000): found 100",
    ),
}


@pytest.mark.parametrize(("change", "says"), BROKEN.values(), ids=BROKEN)
def test_broken_data_is_named(good: pd.DataFrame, check, tmp_path: Path, change: Change, says: str) -> None:
    with pytest.raises(ContractError) as raised:
        check(change(good))
    assert raised.value.contract == "data"
    assert says in raised.value.broken
    assert "exception" not in raised.value.broken
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["success"] is False
    assert "; ".join(report["broken"]) == raised.value.broken
    pages = [page.read_text() for page in (tmp_path / "docs" / "validations").rglob("*.html")]
    column = says.partition(":")[0].split(",")[0]
    assert any("Failed" in page and column.removeprefix("table") in page for page in pages)
    assert str(tmp_path / "docs" / "index.html") in raised.value.mend


def test_a_stale_window_is_named(good: pd.DataFrame, check) -> None:
    with pytest.raises(ContractError, match=r"predicted_at: column max to be .*min_value 2013-01-08.*: found 2013"):
        check(good, until=date(2013, 1, 9))


def test_no_rows_are_refused(good: pd.DataFrame, check, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"success": true}')  # of what was checked before
    with pytest.raises(ContractError, match=r"^data: no rows\. "):
        check(good.iloc[:0])
    assert not (tmp_path / "report.json").exists()


def test_good_data_passes_with_gaps_in_optional_columns(good: pd.DataFrame, check, tmp_path: Path) -> None:
    check(good.assign(aircraft_seats=None, tailnum=None, unasked="ignored"))
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["success"] is True
    assert report["statistics"]["rows"] == len(good)
    assert report["statistics"]["rules"] > 50
    assert (tmp_path / "docs" / "index.html").exists()


def test_nothing_is_registered_from_data_that_was_found_broken(good: pd.DataFrame, check, tmp_path: Path) -> None:
    with pytest.raises(ContractError):
        check(put("distance", [1], -7)(good))
    absent = tmp_path / "absent"
    with pytest.raises(ContractError, match="the records were not found valid"):
        register(Made(absent, tmp_path / "report.json", absent, absent, [], absent), str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()
