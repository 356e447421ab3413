"""Features: one definition, whichever way a record comes in, right at every hour, and of nothing but the record."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from conftest import nothing_known
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.contract import schema
from ml.errors import ContractError
from ml.features import calendar
from ml.features.contradictions import refuse_contradictions
from ml.features.definition import Event, windowed
from ml.features.group import groups_of
from ml.features.table import CATEGORIES, NAMES, WINDOWED, columns_of, columns_of_frame, inputs, json_of_frame
from ml.problem.features import FEATURES
from ml.problem.schema import EXAMPLE, Departure, Flight

NEW_YORK = ZoneInfo("America/New_York")

zones = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1), timezones=zones)
airports = st.from_regex(r"\A[A-Z]{3}\Z")
words = st.none() | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=80)
flights = st.builds(
    Flight,
    carrier=st.from_regex(r"\A[A-Z0-9]{2}\Z"),
    flight=st.integers(1, 9999),
    origin=airports,
    dest=airports,
    scheduled_departure=moments,
    scheduled_minutes=st.integers(15, 1200),
    distance=st.integers(10, 10000),
    tailnum=words,
    aircraft_built=st.none() | st.integers(1930, 2100),
    aircraft_manufacturer=words,
    aircraft_model=words,
    aircraft_engine=words,
    aircraft_engines=st.none() | st.integers(1, 8),
    aircraft_seats=st.none() | st.integers(1, 900),
)


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Assert that two mappings of arrays are equal in names, types and values, NaN equal to NaN."""
    assert list(one) == list(other)
    for name, values in one.items():
        assert values.dtype == other[name].dtype, name
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def frame_of(records: list[Flight]) -> pd.DataFrame:
    """Return records as the source would hand them over: nullable numbers as floats, times in UTC."""
    frame = pd.DataFrame([record.model_dump() for record in records])
    for column in schema.columns():
        if column.kind == "number":
            frame[column.name] = frame[column.name].astype("float64" if column.optional else "int64")
        elif column.kind == "category":
            frame[column.name] = frame[column.name].astype("str")
    departures = pd.to_datetime(frame.scheduled_departure, utc=True)
    return frame.assign(scheduled_departure=departures.astype("datetime64[us, UTC]"))


@settings(deadline=None, max_examples=60)
@given(st.lists(flights, min_size=1, max_size=8))
def test_one_by_one_in_bulk_and_through_a_frame_are_the_same(records: list[Flight]) -> None:
    bulk = inputs(nothing_known(columns_of(records)))
    single = [inputs(nothing_known(columns_of([record]))) for record in records]
    same(bulk._asdict(), inputs(nothing_known(columns_of_frame(frame_of(records))))._asdict())
    same(bulk._asdict(), {part: np.concatenate([getattr(row, part) for row in single]) for part in bulk._fields})


@settings(deadline=None, max_examples=60)
@given(st.lists(flights, min_size=1, max_size=8))
def test_what_a_client_sends_reads_back_as_the_frame_it_was_made_of(records: list[Flight]) -> None:
    frame = frame_of(records)
    sent = [Flight.model_validate_json(json.dumps(each)) for each in json_of_frame(frame)]
    assert sent == records
    same(columns_of(sent), columns_of_frame(frame))


def test_real_records_survive_the_way_through_http(records: pd.DataFrame) -> None:
    sent = [Flight.model_validate_json(json.dumps(each)) for each in json_of_frame(records)]
    same(columns_of(sent), columns_of_frame(records[list(Flight.model_fields)]))


@pytest.mark.parametrize("change", [datetime(2013, 3, 10, 7, tzinfo=UTC), datetime(2013, 11, 3, 6, tzinfo=UTC)])
def test_local_time_is_right_through_both_daylight_saving_changes(change: datetime) -> None:
    around = [change + timedelta(minutes=minutes) for minutes in range(-26 * 60, 26 * 60, 7)]
    times = np.array([moment.timestamp() for moment in around], dtype="int64").astype("datetime64[s]")
    expected = [moment.astimezone(NEW_YORK).replace(tzinfo=None) for moment in around]
    local = calendar.local(times, "America/New_York")
    assert local.astype("datetime64[s]").tolist() == expected
    assert calendar.minute_of_day(local).tolist() == [moment.hour * 60 + moment.minute for moment in expected]
    assert calendar.weekday(local).tolist() == [moment.weekday() for moment in expected]
    offsets = {moment.astimezone(NEW_YORK).utcoffset() for moment in around}
    assert len(offsets) == 2, "no change in these hours"


class Watched(dict):
    """Columns that remember which of them were read."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        super().__init__(columns)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)


def reads() -> Iterator[tuple[str, set[str]]]:
    for feature in FEATURES:
        if feature.window:
            continue
        columns = Watched(columns_of([Flight.model_validate_json(json.dumps(EXAMPLE))]))
        feature.compute(columns)
        yield feature.name, columns.read


def test_features_read_only_what_a_record_holds_at_prediction_time() -> None:
    known = {column.name for column in schema.columns()}
    found = dict(reads())
    assert set().union(*found.values()) <= known
    assert all(found.values()), "a feature of nothing is a constant"
    assert known == set(Flight.model_fields)


def test_every_feature_has_a_name_of_its_own_and_a_sentence() -> None:
    assert len(set(NAMES)) == len(NAMES) == len(FEATURES)
    for feature in FEATURES:
        assert feature.sentence[:1].isupper(), feature.name
        assert feature.sentence.endswith("."), feature.name


def test_missing_is_nan_for_a_number_and_empty_for_a_category() -> None:
    bare = {name: value for name, value in EXAMPLE.items() if not name.startswith(("aircraft", "tailnum"))}
    given_ = inputs(nothing_known(columns_of([Flight.model_validate_json(json.dumps(bare))])))
    absent = {feature.name: value for feature, value in zip(CATEGORIES, given_.categories[0], strict=True)}
    assert absent["tailnum"] == absent["aircraft_engine"] == ""
    assert np.isnan(given_.numbers[0]).sum() == 3 + len(WINDOWED)  # age, seats, engines


CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a name of ours": ({"name": "day"}, "day is a column of ours"),
    "a name twice": ({"name": "distance"}, "two features are called distance"),
    "a field of the record": ({"name": "flight"}, "flight is a field of the record and a windowed feature"),
    "an entity that is none": ({"entity": "orign"}, "orign is no text of both the record and the event"),
    "an entity of the record alone": ({"entity": "dest"}, "dest is no text of both the record and the event"),
    "a number as entity": ({"entity": "delay"}, "delay is no text of both"),
    "a field that is none": ({"value": "dealy"}, r"dealy is no number of the event \(delay\)"),
    "a text as value": ({"value": "carrier"}, "carrier is no number of the event"),
    "events of another class": ({"events": Event}, "folds events that are not among EVENTS"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_definitions_that_contradict_each_other_are_refused_by_name(name: str) -> None:
    more, said = CONTRADICTIONS[name]
    given_ = {
        "name": "one",
        "events": Departure,
        "entity": "origin",
        "value": "delay",
        "how": "mean",
        "hours": 1,
    } | more
    features = [*FEATURES, windowed(given_.pop("name"), "A sentence.", **given_)]
    with pytest.raises(ContractError, match=said):
        refuse_contradictions(features, groups_of(features), {"day", "key", "score"})


@pytest.mark.parametrize(
    "value", [lambda events: events["dealy"], lambda events: 3.0, lambda events: events["carrier"]]
)
def test_a_function_that_makes_no_number_of_each_event_is_refused_with_its_group(value: Any) -> None:
    made = windowed("one", "A sentence.", events=Departure, entity="origin", value=value, how="mean", hours=1)
    columns = {"time": np.zeros(2, "datetime64[s]"), "carrier": np.array(["UA", "DL"], dtype=object)}
    with pytest.raises(ContractError, match=r"a value of departure\.origin"):
        made.window.values(columns)  # type: ignore[union-attr]
