"""Labels: what the join says of every prediction, that late outcomes correct earlier days, and what is reported."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from conftest import configured, ml, one_line
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from ml.contract import labels
from ml.contract.events import Event, EventLog, Outcome, Prediction
from ml.contract.framing import Label, framing
from ml.errors import ContractError
from ml.labelling.join import join
from ml.labelling.label import label
from ml.monitoring.observations import observe
from ml.settings import settings
from ml.store import partitions

ZONE = ZoneInfo(framing().time.timezone)
NOON = datetime(2024, 3, 4, 12, tzinfo=ZONE).astimezone(UTC)
DAY, WEEK = 24, 7 * 24


def at(hour: float) -> datetime:
    return NOON + timedelta(hours=hour)


def prediction(name: str, hour: float, bundle: str = "a", **features: float | str | None) -> Prediction:
    given = {"of": bundle, **features}
    key = {"name": name}
    return Prediction(request_id=name, time=at(hour), key=key, bundle=bundle, score=0.25, decision=True, features=given)


def outcome(name: str, hour: float, value: bool = True) -> Outcome:
    return Outcome(request_id=name, time=at(hour), outcome=value)


def joined(events: list[Event], rule: Label) -> pd.DataFrame:
    plain = [event.model_dump() for event in events]
    both = [[event for event in plain if event["kind"] == kind] for kind in ("prediction", "outcome")]
    parts = [rows for _, rows in join(*both, max(event["time"] for event in plain), rule)]
    return pd.concat(parts).set_index("request_id")


def said(rows: pd.DataFrame) -> dict[str, tuple[Any, ...]]:
    """What is said of each request, None for what has no value."""
    plain = rows[["status", "outcome", "delay_hours"]].astype(object)
    return {str(name): tuple(values) for name, *values in plain.where(plain.notna(), None).itertuples(name=None)}


def oracle(
    predicted: dict[str, int], outcomes: list[tuple[str, int, bool]], window: int, absent: str
) -> dict[str, tuple[Any, ...]]:
    """The same from dictionaries alone, in whole hours."""
    now = max([*predicted.values(), *(hour for _, hour, _ in outcomes)])
    last: dict[str, tuple[int, bool]] = {}
    for name, hour, value in outcomes:
        if name not in last or hour >= last[name][0]:
            last[name] = (hour, value)
    expected = {}
    for name, made in predicted.items():
        is_over = now > made + window
        if name in last and (is_over or absent == "drop"):
            came, value = last[name]
            expected[name] = ("observed" if came <= made + window else "late", float(value), float(came - made))
        elif not is_over:
            expected[name] = ("pending", None, None)
        else:
            expected[name] = ("absent", None, None) if absent == "drop" else ("assumed", 0.0, None)
    return expected


names, hours = st.sampled_from("abcdef"), st.integers(0, 100)


@hypothesis(deadline=None, max_examples=80)
@given(
    st.dictionaries(names, hours, min_size=1),
    st.lists(st.tuples(names, hours, st.booleans()), max_size=12),
    st.integers(1, 60),
    st.sampled_from(["drop", "negative"]),
)
def test_the_join_says_what_plain_dictionaries_say(predicted, outcomes, window, absent) -> None:
    rule = Label(attribution_hours=window, absent=absent)
    events = [prediction(name, hour) for name, hour in predicted.items()] + [outcome(*each) for each in outcomes]
    assert said(joined(events, rule)) == oracle(predicted, outcomes, window, absent)


@pytest.mark.parametrize(
    ("absent", "now", "came", "expected"),
    [
        ("drop", 48, [], ("pending", None, None)),
        ("drop", 49, [], ("absent", None, None)),
        ("drop", 3, [(2, True)], ("observed", 1.0, 2.0)),
        ("drop", 48, [(48, True)], ("observed", 1.0, 48.0)),
        ("drop", 90, [(49, True)], ("late", 1.0, 49.0)),
        ("drop", 90, [(5, True), (3, False)], ("observed", 1.0, 5.0)),
        ("drop", 90, [(5, True), (50, False)], ("late", 0.0, 50.0)),
        ("negative", 48, [], ("pending", None, None)),
        ("negative", 48, [(2, True)], ("pending", None, None)),
        ("negative", 49, [(2, True)], ("observed", 1.0, 2.0)),
        ("negative", 49, [], ("assumed", 0.0, None)),
        ("negative", 90, [(60, True)], ("late", 1.0, 60.0)),
    ],
)
def test_each_status_means_what_the_framing_says(absent: Any, now: int, came: list[Any], expected: tuple) -> None:
    events = [prediction("it", 0), prediction("now", now), *(outcome("it", *each) for each in came)]
    assert said(joined(events, Label(attribution_hours=48, absent=absent)))["it"] == expected


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The event log of a store of one's own, where outcomes are waited for two days; what never came is dropped."""
    with configured(ML_STORE_URL=tmp_path):
        rule(monkeypatch, "drop")
        Path(settings().events_url).mkdir(parents=True)
        yield Path(settings().events_url)


def rule(monkeypatch: pytest.MonkeyPatch, absent: Any) -> None:
    ours = framing().model_copy(update={"label": Label(attribution_hours=48, absent=absent)})
    monkeypatch.setattr("ml.labelling.label.framing", lambda: ours)


def add(folder: Path, *events: Event) -> None:
    log = EventLog(folder)
    log.append(events)
    log.close()


def state(url: str) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path(url).iterdir()}


def test_a_late_outcome_corrects_its_day_and_no_other_and_the_monitor_sees_it(folder: Path) -> None:
    days = [(f"{day}{each}", DAY * day) for day in range(5) for each in "xy"]
    add(folder, *(prediction(name, hour) for name, hour in days))
    add(folder, *(outcome(name, hour + 3, False) for name, hour in days if name != "1y"))
    assert label()["corrected"] == []
    before, url = state(settings().labels_url), settings().labels_url
    assert sorted(before) == [f"day=2024-03-{day:02}.parquet" for day in range(4, 9)]
    assert np.isnan(observe(url, "a").outcomes).tolist() == [False] * 3 + [True] + [False] * 6

    assert label()["written"] == []
    assert state(url) == before

    add(folder, outcome("1y", 4.5 * DAY))
    found = label()
    assert found["written"] == found["corrected"] == ["2024-03-05"]
    after = state(url)
    assert {name for name in after if after[name] != before[name]} == {"day=2024-03-05.parquet"}
    seen = observe(url, "a")
    assert seen.outcomes.tolist() == [0.0] * 3 + [1.0] + [0.0] * 6
    assert seen.days[3] == "2024-03-05"
    assert said(labels.read(url).set_index("request_id"))["1y"] == ("late", 1.0, 3.5 * DAY)


def test_what_only_matures_is_written_and_corrects_nothing(folder: Path) -> None:
    add(folder, prediction("it", 0), prediction("other", DAY), outcome("other", DAY + 1))
    assert label()["written"] == ["2024-03-04", "2024-03-05"]
    add(folder, outcome("it", DAY + 2))
    found = label()
    assert (found["written"], found["corrected"]) == (["2024-03-04"], [])
    add(folder, outcome("other", DAY + 3))  # sent again: the same outcome, later
    found = label()
    assert (found["written"], found["corrected"]) == (["2024-03-05"], [])


def test_where_absence_is_a_negative_it_is_one_once_the_window_is_over_until_an_outcome_comes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule(monkeypatch, "negative")
    add(folder, prediction("quick", 0), outcome("quick", 1), prediction("none", 0), prediction("now", 40))
    label()
    assert np.isnan(observe(settings().labels_url, "a").outcomes).all(), "else the first outcomes are all positive"
    add(folder, prediction("later", 60))
    found = label()
    assert found["status"] == {"observed": 1, "late": 0, "assumed": 1, "pending": 2, "absent": 0}
    assert (found["coverage"], found["corrected"]) == (0.5, [])
    assert dict(zip(*[labels.read(settings().labels_url)[name] for name in ("request_id", "outcome")], strict=True))[
        "none"
    ] == pytest.approx(0)
    add(folder, outcome("none", 61))
    found = label()
    assert (found["corrected"], found["status"]["late"], found["coverage"]) == (["2024-03-04"], 1, 1.0)


def test_coverage_and_delays_are_of_predictions_whose_window_is_over(folder: Path) -> None:
    delays = [1, 2, 3, 4, 5, 6, 7, 8, 9, 60]
    add(folder, *(prediction(f"came{hour}", 0) for hour in delays), *(outcome(f"came{hour}", hour) for hour in delays))
    add(folder, *(prediction(f"not{each}", DAY) for each in range(6)), outcome("not0", DAY + 20))
    add(folder, prediction("fast", WEEK), outcome("fast", WEEK + 0.5), prediction("open", WEEK))
    add(folder, outcome("stranger", 3), outcome("stranger", 4))
    found = label()
    assert found == json.loads((Path(settings().reports_url) / "labels.json").read_text())
    assert found["status"] == {"observed": 11, "late": 1, "assumed": 0, "pending": 1, "absent": 5}
    assert (found["rows"], found["unmatched"], found["coverage"]) == (18, 1, 11 / 16)
    assert [(each["day"], each["rows"], each["coverage"]) for each in found["days"]] == [
        ("2024-03-04", 10, 1.0),
        ("2024-03-05", 6, 1 / 6),
        ("2024-03-11", 2, None),
    ]
    assert found["days"][1]["absent"] == 5
    exact = [1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 60]
    assert found["delay_hours"] == {
        "half": 6.0,
        "nine of ten": 20.0,
        "99 of 100": pytest.approx(np.quantile(exact, 0.99)),
        "all": 60.0,
    }
    assert datetime.fromisoformat(found["until"]) == at(WEEK + 0.5)


def test_a_day_is_a_local_one_and_is_that_of_the_prediction(folder: Path) -> None:
    midnight = datetime(2024, 3, 5, tzinfo=ZONE)
    times = {"before": midnight - timedelta(seconds=1), "after": midnight}
    add(folder, *(prediction(name, (time - NOON) / timedelta(hours=1)) for name, time in times.items()))
    add(folder, outcome("before", DAY))
    label()
    assert [str(day) for day in partitions.days(settings().labels_url)] == ["2024-03-04", "2024-03-05"]
    rows = labels.read(settings().labels_url)
    assert rows[["request_id", "day"]].to_numpy().tolist() == [["before", "2024-03-04"], ["after", "2024-03-05"]]


def test_a_row_keeps_what_was_logged_also_where_bundles_disagree_on_a_features_kind(folder: Path) -> None:
    add(folder, prediction("1", 0, x=1.5, day="Monday", gone=None), prediction("2", 1, x=None, day="", gone=None))
    add(folder, prediction("3", 2, bundle="b", x="many", new=2.5), prediction("4", DAY, x=2.5, day="Tuesday"))
    label()
    url = settings().labels_url
    seen = observe(url, "a")
    assert seen.features["x"].astype(float).tolist() == pytest.approx([1.5, np.nan, 2.5], nan_ok=True)
    assert seen.features["day"].tolist() == ["Monday", "", "Tuesday"]
    assert seen.features["gone"].isna().all()
    assert seen.days.tolist() == ["2024-03-04", "2024-03-04", "2024-03-05"]
    assert seen.scores.tolist() == [0.25] * 3
    assert observe(url, "b").features[["x", "new"]].to_numpy().tolist() == [["many", 2.5]]
    rows = labels.read(url)
    assert rows["key.name"].tolist() == ["1", "2", "3", "4"]
    assert list(labels.COLUMNS) == list(rows)[: len(labels.COLUMNS)]
    assert rows.decision.all()
    assert rows.time[3] == at(DAY)


def page() -> str:
    return (Path(settings().reports_url) / "labels.html").read_text()


def text(page: str) -> str:
    return " ".join(re.sub(r"<style.*?</style>|<[^>]+>", " ", page, flags=re.S).split())


def test_the_page_shows_coverage_delays_and_what_was_corrected_and_loads_nothing(folder: Path) -> None:
    add(folder, *(prediction(f"{each}", each) for each in range(WEEK)))
    add(folder, *(outcome(f"{each}", each + 5) for each in range(WEEK) if each % 4))
    label()
    add(folder, outcome("0", WEEK))
    label()
    for said in (
        "75.8 % of outcomes came.",  # 91 of the 120 hours whose window is over, the late one among them
        "late 1 0.6 %",
        "half within 5 hours",
        "Earlier days that were corrected 2024-03-04.",
        "ml monitor --until",
    ):
        assert said in text(page()), text(page())
    assert page().count("<svg") == 2
    assert "$" not in text(page()), "mathematics is not set in pictures"
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!#)[^"']+|url\((?!#)[^)]+\)|@import|<script|<link""", page()) == []


def test_the_page_says_where_no_window_is_over(folder: Path) -> None:
    add(folder, prediction("it", 0), outcome("it", 1))
    assert label()["delay_hours"] == {}
    assert "No window is over yet." in text(page())
    assert "Earlier days that were corrected None" in text(page())
    assert page().count("<svg") == 1


@pytest.mark.parametrize("verb", ["label", "monitor"])
def test_an_empty_log_says_what_to_do(verb: str, tmp_path: Path) -> None:
    line = one_line(ml(verb, ML_STORE_URL=tmp_path, ML_RELEASE_FOLDER=tmp_path))
    assert line.startswith("error: labels: nothing has been predicted in the environment laptop yet. Send requests to")
    assert not (tmp_path / "reports").exists()


def test_the_monitor_labels_first(folder: Path, tmp_path: Path) -> None:
    add(folder, prediction("it", 0))
    ran = ml("monitor", ML_STORE_URL=tmp_path, ML_RELEASE_FOLDER=tmp_path)
    assert ran.stdout.startswith("label     1 predictions of 1 days, 0 with their outcome; wrote 1 days, corrected 0")
    assert "nothing is released" in one_line(ran)


def test_a_table_that_is_not_there_or_of_another_form_names_the_verb_to_run(folder: Path) -> None:
    with pytest.raises(ContractError, match=r"holds no labels\. Run `ml label` first"):
        observe(settings().labels_url, "a")
    partitions.write(settings().labels_url, NOON.date(), pd.DataFrame({"request_id": ["it"]}))
    with pytest.raises(ContractError, match=r"has no column bundle\. Remove it"):
        observe(settings().labels_url, "a")
    add(folder, prediction("it", 0))
    assert label()["written"] == ["2024-03-04"], "a partition of another form is written anew"
    assert len(observe(settings().labels_url, "a").scores) == 1
