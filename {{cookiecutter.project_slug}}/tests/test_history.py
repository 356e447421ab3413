"""The history of events: whole, on the right day, as its class says, or refused by name; and what is filled of it."""

import re
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import configured, ml, one_line

from ml.errors import ContractError
from ml.features.archive import Archive
from ml.features.online import Online
from ml.features.rows import records_of
from ml.features.table import GROUPS, WINDOWED, columns_of_frame
from ml.online.store import connect
from ml.problem import schema
from ml.problem.schema import Departure
from ml.replay import replay

DAYS = [date(2013, 4, day) for day in range(5, 12)]
DAY = DAYS[-2]

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def copy(lake: str, tmp_path: Path) -> Path:
    """A lake of a week whose partitions a test may change."""
    shutil.copytree(lake, tmp_path / "lake", ignore=_others)
    return tmp_path / "lake"


def _others(_: str, names: list[str]) -> set[str]:
    return {name for name in names if name.startswith("day=") and date.fromisoformat(name[4:14]) not in DAYS}


def events(lake: Path, kind: str = "departure", day: date = DAY) -> Path:
    return lake / "events" / kind / f"day={day}.parquet"


def test_a_hole_in_the_history_is_refused_also_at_the_edge_of_what_is_asked(copy: Path) -> None:
    for hole in (DAYS[1], DAYS[2]):
        events(copy, day=hole).unlink()
    for since, until in ((0, 6), (1, 3), (2, 5), (0, 2), (1, 2)):
        first, last = (int(datetime.combine(DAYS[place], datetime.min.time()).timestamp()) for place in (since, until))
        with pytest.raises(ContractError, match=r"has no departure events of 2013-04-0[67], but of days before"):
            Archive(str(copy)).between(Departure, first + 3600, last + 3600)


def test_records_later_than_the_history_are_refused(copy: Path) -> None:
    for day in (DAY, DAYS[-1]):
        events(copy, "weather", day).unlink()
    with pytest.raises(ContractError, match=f"no weather events of {DAY}"):
        records_of(str(copy), [DAYS[4], DAY])


BROKEN: dict[str, tuple[Change, str]] = {
    "another day": (
        lambda frame: frame.assign(available_at=frame.available_at + timedelta(days=1)),
        "become available on another day",
    ),
    "no moment": (
        lambda frame: frame.assign(available_at=frame.available_at.mask(frame.index >= 0)),
        "become available on another day",
    ),
    "the future": (
        lambda frame: frame.assign(time=frame.available_at + timedelta(seconds=1)),
        "become available before they happen",
    ),
    "no entity": (lambda frame: frame.assign(origin=None), "have no origin"),
    "a strange entity": (lambda frame: frame.assign(origin="jfk"), "have a strange origin"),
    "out of bounds": (lambda frame: frame.assign(delay=1e6), "have a delay out of bounds"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_the_stream_would_refuse_is_refused_in_the_history(copy: Path, name: str) -> None:
    change, said = BROKEN[name]
    frame = pd.read_parquet(events(copy))
    changed = change(frame)
    changed["available_at"] = changed["available_at"].astype(frame["available_at"].dtype)
    changed.to_parquet(events(copy), index=False)
    with pytest.raises(ContractError, match=rf"departure events of {DAY} {re.escape(said)}"):
        records_of(str(copy), [DAY])


def test_a_day_on_which_nothing_happened_is_no_hole(copy: Path) -> None:
    frame = pd.read_parquet(events(copy))
    frame.iloc[:0].to_parquet(events(copy), index=False)
    assert len(records_of(str(copy), [DAY]))


def test_an_event_is_known_from_the_second_after_it_became_available(copy: Path) -> None:
    frame = pd.read_parquet(events(copy))
    moment = frame.available_at.iloc[100].floor("s")
    frame["available_at"] = frame.available_at.where(frame.index != 100, moment + timedelta(milliseconds=1))
    frame.to_parquet(events(copy), index=False)
    second = int(moment.timestamp())
    id = frame.id.iloc[100]
    assert id not in Archive(str(copy)).between(Departure, second - 60, second)["id"]
    assert id in Archive(str(copy)).between(Departure, second - 60, second + 1)["id"]


def test_a_store_that_was_filled_at_the_end_of_a_day_knows_what_training_would(copy: Path, tmp_path: Path) -> None:
    ran = ml("materialize", "--until", DAY, ML_DATA_URL=copy, ML_STORE_URL=tmp_path / "store")
    assert ran.returncode == 0, ran.stderr
    assert f"up to {DAY}" in ran.stdout
    again = ml("materialize", "--until", DAY, ML_DATA_URL=copy, ML_STORE_URL=tmp_path / "store")
    assert "folded 0 updates" in again.stdout
    midnight = datetime.combine(DAYS[-1], datetime.min.time())
    records = records_of(str(copy), [DAY]).iloc[:50]
    columns = columns_of_frame(records)
    now = int((midnight - datetime(1970, 1, 1)).total_seconds()) - 1
    with closing(connect(str(tmp_path / "store" / "online" / "laptop"))) as store:
        online = Online(store).known(columns, pd.Timestamp(now, unit="s", tz="UTC").to_pydatetime()).features
    from ml.features.history import History

    offline = History(str(copy)).join(columns, np.full(len(records), now))
    assert len(online) == len(WINDOWED)
    for name, values in offline.items():
        np.testing.assert_array_equal(online[name], values, err_msg=name)


def test_a_lake_without_events_is_told_what_it_lacks(lake: str, tmp_path: Path) -> None:
    line = one_line(ml("materialize", ML_DATA_URL=tmp_path / "empty", ML_STORE_URL=tmp_path / "store"))
    assert f"has no {schema.EVENTS[0].__name__.lower()} events" in line
    assert GROUPS


def test_a_store_that_does_not_answer_is_told_in_one_line(copy: Path) -> None:
    line = one_line(ml("materialize", ML_DATA_URL=copy, ML_ONLINE_URL="redis://:secret@127.0.0.1:1/0"))
    assert "online store" in line
    assert "secret" not in line


def test_a_store_filled_up_to_the_evening_before_can_be_replayed_into_and_one_that_is_ahead_cannot(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = []
    monkeypatch.setattr(
        "ml.replay._post", lambda client, route, objects, time: posted.append(route) or _answered(objects)
    )
    for until, ahead in ((DAYS[2], False), (DAYS[4], True)):
        store = tmp_path / str(until)
        assert ml("materialize", "--until", until, ML_DATA_URL=copy, ML_STORE_URL=store).returncode == 0
        with configured(ML_STORE_URL=store):
            if ahead:
                with pytest.raises(ContractError, match="knows what happened later than 2013-04-08"):
                    replay(str(copy), DAYS[3], DAYS[3], "http://nobody", "http://nobody")
            else:
                assert replay(str(copy), DAYS[3], DAYS[3], "http://nobody", "http://nobody") > 500
    assert "/predict" in posted


def _answered(objects: list[object]) -> list[dict[str, str]]:
    return [{"request_id": str(place)} for place in range(len(objects))]
