"""The source: a partition a day that is read alone, and records that know nothing of what came later."""

import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from ml.contract.framing import framing
from ml.features.table import columns_of_frame
from ml.problem import schema, source
from ml.store import files

YEAR = [date(2013, 1, 1) + timedelta(days=day) for day in range(365)]
DAY = date(2013, 2, 10)
TARGET = framing().task.positive
KNOWN_LATER = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"]  # of the package's columns
NUMBER = ["carrier", "flight", "origin", "dest"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake of this module's own: what is shared may be an older one."""
    lake = str(tmp_path_factory.mktemp("source") / "lake")
    assert list(source.publish(lake)) == YEAR
    return lake


@pytest.fixture
def copy(published: str, tmp_path: Path) -> str:
    """A lake whose partitions a test may change."""
    return str(shutil.copytree(published, tmp_path / "lake"))


@pytest.fixture(scope="module")
def year(published: str) -> pd.DataFrame:
    """All records, with the day of their partition and the local day of departure."""
    flights = pd.concat([source.read(published, day).assign(day=str(day)) for day in YEAR], ignore_index=True)
    departure = flights.scheduled_departure.dt.tz_convert("America/New_York")
    return flights.assign(departs=departure.dt.strftime("%Y-%m-%d"))


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    """The package's own rows."""
    rows = pd.read_csv(source._package("flights.csv.zip"), compression="zip")
    return rows.assign(date=pd.to_datetime(rows[["year", "month", "day"]]).dt.strftime("%Y-%m-%d"))


@pytest.fixture(scope="module")
def both(year: pd.DataFrame, raw: pd.DataFrame) -> pd.DataFrame:
    """Each record beside the raw row that it was made of; what both have is called `raw_...` there."""
    renamed = raw.drop(columns=["day", "distance"]).rename(columns={"date": "departs", "tailnum": "raw_tailnum"})
    beside = year.merge(renamed, on=[*NUMBER, "departs"], validate="one_to_one")
    assert len(beside) == len(year) == len(raw)
    return beside


def fingerprints(lake: str) -> dict[str, tuple[int, int]]:
    there = [path for path in Path(lake).rglob("*") if path.is_file()]
    return {str(path.relative_to(lake)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in there}


def test_every_day_is_one_partition(published: str, year: pd.DataFrame) -> None:
    assert source.days(published) == YEAR
    assert files.names(published) == [*(f"day={day}.parquet" for day in YEAR), "events"]
    due = (year.scheduled_departure - schema.TWO_HOURS).dt.tz_convert("America/New_York").dt.strftime("%Y-%m-%d")
    assert (due == year.day).all()


def test_publishing_again_rewrites_nothing(copy: str) -> None:
    before = fingerprints(copy)
    list(source.publish(copy))
    assert fingerprints(copy) == before


def test_a_backfill_writes_the_absent_days_alone_and_as_they_were(copy: str, published: str) -> None:
    gone = {f"day={day}.parquet" for day in (DAY, date(2013, 3, 10), date(2013, 12, 31))}
    gone |= {f"events/{kind}/day={DAY}.parquet" for kind in ("arrival", "weather")}
    for name in gone:
        Path(copy, name).unlink()
    before = fingerprints(copy)
    assert list(source.publish(copy)) == YEAR
    after = fingerprints(copy)
    assert {name for name in after if after[name] != before.get(name)} == gone
    for name in gone:
        assert Path(copy, name).read_bytes() == Path(published, name).read_bytes()


def test_a_file_that_a_crash_left_half_written_is_no_day(copy: str) -> None:
    Path(copy, ".writing-abc").write_bytes(b"PAR1")
    assert source.days(copy) == YEAR
    assert files.names(copy) == [*(f"day={day}.parquet" for day in YEAR), "events"]


def test_a_day_is_read_from_its_own_partition_alone(copy: str, published: str) -> None:
    for day in YEAR:
        if day != DAY:
            Path(copy, f"day={day}.parquet").unlink()
    assert source.days(copy) == [DAY]
    assert_frame_equal(source.read(copy, DAY), source.read(published, DAY))


def test_a_new_day_is_read_without_the_others(published: str, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    assert source.days(str(lake)) == []
    lake.mkdir()
    for count, day in enumerate((DAY, DAY + timedelta(days=1)), start=1):
        shutil.copy(Path(published, f"day={day}.parquet"), lake)
        assert source.days(str(lake))[-1] == day
        assert len(source.days(str(lake))) == count
        assert_frame_equal(source.read(str(lake), day), source.read(published, day))


def test_the_columns_are_those_of_the_schema_and_the_label(year: pd.DataFrame) -> None:
    assert [*schema.Record.model_fields, TARGET] == [name for name in year.columns if name not in ("day", "departs")]
    assert not set(schema.Record.model_fields) & (set(KNOWN_LATER) - {"tailnum"})


def test_a_key_names_one_record(year: pd.DataFrame) -> None:
    assert not year.duplicated(list(schema.KEY)).any()


def test_the_label_is_cancelled_diverted_or_an_hour_late(both: pd.DataFrame) -> None:
    cancelled = both.dep_time.isna()
    diverted = both.dep_time.notna() & both.arr_delay.isna()
    late = both.arr_delay >= 60
    for rule in (cancelled, diverted, late):
        assert rule.sum() > 1000
        assert (both[TARGET][rule] == 1).all()
    assert (both[TARGET][~(cancelled | diverted | late)] == 0).all()
    assert set(both.arr_delay[late]) >= {60.0}


def test_outcomes_are_known_only_after_every_prediction(year: pd.DataFrame) -> None:
    columns = columns_of_frame(year)
    departure = columns["scheduled_departure"]
    assert (schema.predicted_at(columns) == departure - np.timedelta64(2, "h")).all()
    assert (schema.known_at(columns) > departure + np.timedelta64(1, "h")).all()


def altered(raw: pd.DataFrame, day: date, folder: Path) -> Path:
    """Write the package's rows up to a day later, with another course of `day` and the same schedule."""
    rows = raw[raw.date <= str(day + timedelta(days=1))].copy()
    chosen = rows.date == str(day)
    shuffled = rows.loc[chosen, KNOWN_LATER].sample(frac=1, random_state=1)
    shuffled.iloc[::3] = np.nan  # as if cancelled
    rows.loc[chosen, KNOWN_LATER] = shuffled.to_numpy()
    path = folder / "flights.csv.zip"
    rows.drop(columns="date").to_csv(path, index=False)
    return path


def test_a_days_records_do_not_depend_on_how_the_day_went(
    raw: pd.DataFrame, published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = {"flights.csv.zip": str(altered(raw, DAY, tmp_path))}
    original = source._package
    monkeypatch.setattr(source, "_package", lambda name: package.get(name) or original(name))
    lake = str(tmp_path / "lake")
    list(source.publish(lake))
    was, became = (source.read(each, DAY) for each in (published, lake))
    assert_frame_equal(became.drop(columns=TARGET), was.drop(columns=TARGET))
    assert (became[TARGET] != was[TARGET]).mean() > 0.1  # the day went otherwise indeed
    tomorrow = DAY + timedelta(days=1)
    was, became = (source.read(each, tomorrow) for each in (published, lake))
    assert (became.tailnum.fillna("") != was.tailnum.fillna("")).mean() > 0.1  # which the day after may know


def test_a_missing_tail_number_gives_no_outcome_away(both: pd.DataFrame) -> None:
    assert (both[TARGET][both.raw_tailnum.isna()] == 1).all()  # as it would in the package's own column
    rate = both[TARGET].mean()
    missing = both.tailnum.isna()
    assert 0.01 < missing.mean() < 0.1
    assert 0.5 * rate < both[TARGET][missing].mean() < 1.5 * rate


def test_the_planned_aircraft_is_the_one_of_the_last_earlier_day(both: pd.DataFrame) -> None:
    one = both[(both.carrier == "UA") & (both.flight == 1545) & (both.origin == "EWR") & (both.dest == "IAH")]
    flown = dict(zip(one.day, one.raw_tailnum, strict=True))
    for day, planned in zip(one.day, one.tailnum, strict=True):
        earlier = [tail for other, tail in sorted(flown.items()) if other < day and isinstance(tail, str)]
        assert planned == earlier[-1] if earlier else pd.isna(planned)


def test_scheduled_minutes_leave_time_to_taxi_on_every_flight_and_route(both: pd.DataFrame) -> None:
    """An hour lost between zones or clocks would show: what is not in the air is taxiing, half an hour of it."""
    flown = both[both.air_time.notna() & both.arr_delay.notna()]
    taxiing = flown.scheduled_minutes + flown.arr_delay - flown.dep_delay - flown.air_time
    assert taxiing.min() > 0
    assert taxiing.quantile(0.999) < 150
    usual = taxiing.groupby([flown.origin, flown.dest]).median()
    assert len(usual) > 200
    assert usual.between(15, 50).all()
    atlantic = usual[usual.index.get_level_values("dest").isin(["SJU", "BQN", "PSE", "STT"])]
    assert len(atlantic) >= 6
    assert atlantic.between(15, 35).all()
    for night in ("2013-03-09", "2013-03-10", "2013-11-02", "2013-11-03"):
        assert taxiing[flown.day == night].between(5, 120).all(), night
