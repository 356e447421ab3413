"""Training-serving skew: what is served is what training would have seen, and a planted difference is named."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import configured, ml
from serving_parts import answers, process

from ml.contract import events
from ml.contract.bundle import Bundle
from ml.contract.schema import record_type
from ml.eventlog import segments
from ml.eventlog.read import logged
from ml.features import materialize, table, updater
from ml.features.definition import Feature
from ml.features.group import groups_of
from ml.features.online import Online
from ml.features.rows import records_of
from ml.features.table import WINDOWED, columns_of_frame, json_of_frame
from ml.monitoring import skew
from ml.monitoring.skew import Skew, compare
from ml.online.store import connect
from ml.problem import schema
from ml.problem.features import FEATURES
from ml.settings import settings
from ml.store import files

DAY = date(2013, 4, 10)
MOMENTS = [datetime(2013, 4, 10, hour, 7, tzinfo=UTC) for hour in (9, 13, 17, 21)]


def served(bundle: tuple[str, str], lake: str, folder: Path, features: tuple[Feature, ...] = FEATURES) -> pd.DataFrame:
    """Return what a service logs that computes `features`, over a day of real flights and events."""
    groups = groups_of(features)
    numbers = tuple(feature for feature in features if feature.kind == "number")
    records = records_of(lake, [DAY])
    due = schema.predicted_at(columns_of_frame(records))
    with pytest.MonkeyPatch.context() as patch, closing(connect(str(folder / "online"))) as store:
        patch.setattr(Bundle, "replay_golden", lambda self: 64)  # it would refuse to serve some of these features
        patch.setattr(table, "NUMBERS", numbers)
        for module in (updater, materialize):
            patch.setattr(module, "GROUPS", groups)
        feed = materialize.Feed(lake, store, DAY)
        with process(bundle, folder / "store", "simulated") as serving:
            serving.predictor.online = Online(store, groups)
            for moment in MOMENTS:
                feed.up_to(int(moment.timestamp()))
                serving.clock.set(moment)
                near = np.abs((due - np.datetime64(moment.replace(tzinfo=None))) / np.timedelta64(1, "m")) < 30
                sent = [record_type().model_validate_json(json.dumps(each)) for each in json_of_frame(records[near])]
                assert len(sent) > 20
                answers(serving, sent)
            serving.log.flush()
            return logged(events.PREDICTIONS)


def changed(name: str, **window: Any) -> tuple[Feature, ...]:
    """Return the features, one of which has another window."""
    return tuple(
        dataclasses.replace(each, window=dataclasses.replace(each.window, **window)) if each.name == name else each
        for each in FEATURES
    )


def computed(name: str, compute: Any) -> tuple[Feature, ...]:
    """Return the features, one of which is computed otherwise."""
    return tuple(dataclasses.replace(each, compute=compute) if each.name == name else each for each in FEATURES)


def test_nothing_differs_between_what_is_served_and_the_offline_path(
    bundle: tuple[str, str], lake: str, tmp_path: Path
) -> None:
    told = served(bundle, lake, tmp_path / "served")
    assert compare(lake, told) == Skew(len(told), 0, [])
    for feature in WINDOWED:
        assert told[f"features.{feature.name}"].notna().mean() > 1 / 3, f"{feature.name} is hardly ever known"


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("origin_late_1h", changed("origin_late_1h", hours=2)),
        ("wind_speed", changed("wind_speed", value=lambda events: np.round(events["wind_speed"]))),
        (
            "aircraft_hours_since_arrival",
            computed(
                "aircraft_hours_since_arrival",
                lambda records: np.nan_to_num(records["aircraft_hours_since_arrival"], nan=-1.0),
            ),
        ),
        (
            "departure_minute",
            computed("departure_minute", lambda records: np.round(FEATURES[0].compute(records) / 10) * 10),
        ),
    ],
    ids=["a shifted window", "another rounding of events", "another default", "another rounding of records"],
)
def test_a_planted_skew_is_found_and_named(
    bundle: tuple[str, str], lake: str, tmp_path: Path, name: str, features: tuple[Feature, ...]
) -> None:
    found = compare(lake, served(bundle, lake, tmp_path / "served", features))
    assert [each.feature for each in found.differing] == [name]
    (differing,) = found.differing
    assert 0 < differing.requests <= found.compared
    assert differing.served != differing.offline
    assert set(differing.key) == set(schema.KEY)


def test_an_event_that_reached_the_store_too_late_is_a_skew_of_its_group_alone(
    bundle: tuple[str, str], lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    between = materialize.Archive.between

    def delayed(self: Any, kind: type, since: int, until: int) -> Any:
        hour = 3600 if kind.__name__ == "Weather" else 0
        return between(self, kind, since - hour, until - hour)

    monkeypatch.setattr(materialize.Archive, "between", delayed)
    told = served(bundle, lake, tmp_path / "served")
    monkeypatch.undo()
    weather = {each.name for each in WINDOWED if each.window.events.__name__ == "Weather"}
    found = {each.feature for each in compare(lake, told).differing}
    assert "temperature" in found
    assert found <= weather


def test_requests_whose_record_the_lake_lacks_are_counted(bundle: tuple[str, str], lake: str, tmp_path: Path) -> None:
    told = served(bundle, lake, tmp_path / "served")
    told.loc[3, "key.flight"] = 9999.0
    assert compare(lake, told)[:2] == (len(told) - 1, 1)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[None]:
    """An event log of five hours, a hundred predictions each; ten of the champion's fifty do not count."""
    plain = {"text": "x", "number": 0.5, "single": 0.5, "flag": False, "time": MOMENTS[0]}
    row = {name: plain[kind] for name, kind in events.TABLES[events.PREDICTIONS].items()}
    row |= {"bundle": ["champion", "other"] * 50, "degraded": [True] * 10 + [False] * 90}
    row |= {"stored": [False] * 90 + [True] * 10}
    with configured(ML_STORE_URL=tmp_path):
        for hour in range(5):
            row["request_id"] = [f"{hour}-{place}" for place in range(100)]
            whole = pa.Table.from_batches([segments.batch(events.PREDICTIONS, [(row, 100)])])
            place = files.join(settings().events_url, events.PREDICTIONS, f"20130410T0{hour}0000.0-a.parquet")
            files.write(place, segments.closed(whole))
        yield


@pytest.mark.usefixtures("log")
def test_the_sample_is_of_all_that_the_champion_served_itself() -> None:
    every = [f"{hour}-{place}" for hour in range(5) for place in range(10, 90, 2)]
    assert skew._drawn("champion", 1000).request_id.tolist() == every
    drawn = skew._drawn("champion", 80).request_id.tolist()
    assert len(drawn) == 80
    assert drawn == [each for each in every if each in set(drawn)], "in their order, and none of the others"
    of_hours = Counter(each[0] for each in drawn)
    assert min(of_hours[hour] for hour in "01234") >= 8, (
        "whichever hour, they are as likely: sixteen, give or take four"
    )
    assert drawn == skew._drawn("champion", 80).request_id.tolist()
    assert len(skew._drawn("nobody", 80)) == 0


def test_a_feature_from_the_future_of_the_history_reaches_no_record(lake: str, tmp_path: Path) -> None:
    """Poison: every event that becomes known after a prediction is replaced; nothing about the prediction changes."""
    records = records_of(lake, [DAY])
    early = schema.predicted_at(columns_of_frame(records)) <= np.datetime64("2013-04-10T15:00")
    for part in ("events", f"day={DAY}.parquet"):
        _copy(Path(lake) / part, tmp_path / part)
    for path in (tmp_path / "events").rglob("*.parquet"):
        frame = pd.read_parquet(path)
        later = frame["available_at"] > pd.Timestamp("2013-04-10T15:00", tz="UTC")
        for name in frame.select_dtypes("number"):
            frame[name] = frame[name].astype(float).mask(later, 0.0)
        frame["time"] = frame["time"].mask(later, frame["time"] - timedelta(hours=1))
        frame.to_parquet(path, index=False)
    again = records_of(str(tmp_path), [DAY])
    names = [feature.name for feature in WINDOWED]
    pd.testing.assert_frame_equal(records.loc[early, names], again.loc[early, names])
    assert not records.loc[~early, names].equals(again.loc[~early, names]), "the poison is none"


def _copy(source: Path, target: Path) -> None:
    """Copy the days around DAY."""
    for path in [source] if source.is_file() else source.rglob("day=2013-04-*.parquet"):
        there = target / path.relative_to(source) if source.is_dir() else target
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(path.read_bytes())


def test_the_verb_says_what_to_do_where_nothing_was_served(bundle: tuple[str, str], tmp_path: Path) -> None:
    with configured():
        ran = ml("skew", ML_STORE_URL=tmp_path, ML_RELEASE_BUNDLE=bundle[1])
    assert ran.returncode == 1
    assert "has served nothing yet" in ran.stderr
