"""Labels: what the join says of every prediction, that late outcomes correct earlier days, and what is reported."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import configured, ml, one_line
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from ml.contract import labels, release
from ml.contract.events import ENTITY, FEATURES, KEY, OUTCOMES, PREDICTIONS, TABLES
from ml.contract.framing import Label, framing
from ml.contract.release import Arm, Experiment, Release
from ml.errors import ContractError
from ml.eventlog import segments, spill
from ml.eventlog.log import EventLog
from ml.labelling.join import join
from ml.labelling.label import label
from ml.monitoring.observations import Observations, observations
from ml.settings import settings
from ml.store import partitions

ZONE = ZoneInfo(framing().time.timezone)
NOON = datetime(2024, 3, 4, 12, tzinfo=ZONE).astimezone(UTC)
DAY, WEEK = 24, 7 * 24


def rows_of(url: str, bundle: str) -> pd.DataFrame:
    rows = labels.read(url)
    return rows[rows.bundle == bundle].reset_index(drop=True)


def observe(url: str, bundle: str) -> Observations:
    return observations(rows_of(url, bundle))


def at(hour: float) -> datetime:
    return NOON + timedelta(hours=hour)


Event = tuple[str, dict[str, Any]]  # a table of the log, and a row of it
OURS = {name: kind for name, kind in TABLES[PREDICTIONS].items() if not name.startswith((KEY, FEATURES))}


def prediction(name: str, hour: float, bundle: str = "a", **features: float | str | None) -> Event:
    answer = {"request_id": name, "time": at(hour), "bundle": bundle, "score": 0.25, "decision": True, "seconds": 0.01}
    more = {"fallback": "", "plan": "plan", "degraded": False, "stored": False, **dict.fromkeys(ENTITY)}
    told = {FEATURES + feature: value for feature, value in {"of": bundle, **features}.items()}
    return PREDICTIONS, answer | more | {f"{KEY}name": name} | told


def outcome(name: str, hour: float, value: bool = True, sender: str = "me") -> Event:
    return OUTCOMES, {"request_id": name, "time": at(hour), "outcome": value, "sender": sender}


@contextmanager
def of_kinds(events: Iterable[Event]) -> Iterator[None]:
    """Let the log have a column for what these predictions were given: texts, or else numbers."""
    logged = [row for table, row in events if table == PREDICTIONS]
    names = {name: None for row in logged for name in row if name not in OURS}
    kinds = {name: "text" if any(isinstance(row.get(name), str) for row in logged) else "number" for name in names}
    for row in logged:
        row.update({name: None for name in names if name not in row})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TABLES, PREDICTIONS, OURS | kinds)
        yield


def frame(table: str, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as the log gives them back."""
    told = [pa.Table.from_batches([segments.batch(table, [(row, 1) for row in rows])])] if rows else []
    return segments.together([segments.empty(table), *told]).to_pandas()


def joined(events: list[Event], rule: Label) -> pd.DataFrame:
    with of_kinds(events):
        both = [frame(table, [row for of, row in events if of == table]) for table in (PREDICTIONS, OUTCOMES)]
    now = max(row["time"] for _, row in events)
    return pd.concat([rows for _, rows in join(*both, now, rule)]).set_index("request_id")


def said(rows: pd.DataFrame) -> dict[str, tuple[Any, ...]]:
    """What is said of each request, None for what has no value."""
    plain = rows[["status", "outcome", "delay_hours"]].astype(object)
    return {str(name): tuple(values) for name, *values in plain.where(plain.notna(), None).itertuples(name=None)}


def oracle(
    predicted: dict[str, int], outcomes: list[tuple[str, int, bool, str]], window: int, absent: str
) -> dict[str, tuple[Any, ...]]:
    """The same from dictionaries alone, in whole hours."""
    now = max([*predicted.values(), *(hour for _, hour, _, _ in outcomes)])
    last: dict[str, dict[str, tuple[int, bool]]] = {}
    for name, hour, value, sender in outcomes:
        said = last.setdefault(name, {})
        if sender not in said or hour >= said[sender][0]:
            said[sender] = (hour, value)
    expected = {}
    for name, made in predicted.items():
        is_over = now > made + window
        if name in last and (is_over or absent == "drop"):
            came = max(hour for hour, _ in last[name].values())
            values = {value for _, value in last[name].values()}
            status = "observed" if came <= made + window else "late"
            agreed = (status, float(values.pop()), float(came - made))
            expected[name] = agreed if not values else ("contradicted", None, None)
        elif not is_over:
            expected[name] = ("pending", None, None)
        else:
            expected[name] = ("absent", None, None) if absent == "drop" else ("assumed", 0.0, None)
    return expected


names, hours, senders = st.sampled_from("abcdef"), st.integers(0, 100), st.sampled_from(["one", "other", "third"])


@hypothesis(deadline=None, max_examples=80)
@given(
    st.dictionaries(names, hours, min_size=1),
    st.lists(st.tuples(names, hours, st.booleans(), senders), max_size=16),
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
        ("drop", 90, [(5, True, "one"), (3, True, "other")], ("observed", 1.0, 5.0)),
        ("drop", 90, [(5, True, "one"), (3, False, "other")], ("contradicted", None, None)),
        ("drop", 3, [(2, True, "one"), (3, False, "other")], ("contradicted", None, None)),
        ("drop", 90, [(5, True, "one"), (3, False, "other"), (6, True, "other")], ("observed", 1.0, 6.0)),
        ("negative", 48, [], ("pending", None, None)),
        ("negative", 48, [(2, True)], ("pending", None, None)),
        ("negative", 49, [(2, True)], ("observed", 1.0, 2.0)),
        ("negative", 49, [], ("assumed", 0.0, None)),
        ("negative", 90, [(60, True)], ("late", 1.0, 60.0)),
        ("negative", 48, [(2, True, "one"), (2, False, "other")], ("pending", None, None)),
        ("negative", 49, [(2, True, "one"), (2, False, "other")], ("contradicted", None, None)),
    ],
)
def test_each_status_means_what_the_framing_says(absent: Any, now: int, came: list[Any], expected: tuple) -> None:
    events = [prediction("it", 0), prediction("now", now), *(outcome("it", *each) for each in came)]
    assert said(joined(events, Label(attribution_hours=48, absent=absent)))["it"] == expected


@pytest.fixture(params=[0, spill.MANY], ids=["all is too much for memory", "all fits into memory"])
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The event log of a store of one's own, where outcomes are waited for two days; what never came is dropped."""
    monkeypatch.setattr(spill, "MANY", request.param)
    with configured(ML_STORE_URL=tmp_path):
        rule(monkeypatch, "drop")
        Path(settings().events_url).mkdir(parents=True)
        yield Path(settings().events_url)


def rule(monkeypatch: pytest.MonkeyPatch, absent: Any) -> None:
    ours = framing().model_copy(update={"label": Label(attribution_hours=48, absent=absent)})
    monkeypatch.setattr("ml.labelling.label.framing", lambda: ours)


def add(folder: Path, *events: Event) -> None:
    with of_kinds(events):
        log = EventLog(settings().spool, str(folder), 60)
        for table, row in events:
            log.append(table, row, 1)
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
    assert found["status"] == {
        **dict.fromkeys(labels.STATUSES, 0),
        **{"observed": 1, "assumed": 1, "pending": 2},
    }
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
    assert found["status"] == {
        **dict.fromkeys(labels.STATUSES, 0),
        **{"observed": 11, "late": 1, "pending": 1, "absent": 5},
    }
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
    add(folder, prediction("4", DAY, x=2.5, day="Tuesday"))
    add(folder, prediction("3", 2, bundle="b", x="many", new=2.5))
    label()
    url = settings().labels_url
    seen = observe(url, "a")
    features = labels.features(rows_of(url, "a"))
    assert features["x"].astype(float).tolist() == pytest.approx([1.5, np.nan, 2.5], nan_ok=True)
    assert features["day"].tolist() == ["Monday", "", "Tuesday"]
    assert features["gone"].isna().all()
    assert seen.days.tolist() == ["2024-03-04", "2024-03-04", "2024-03-05"]
    assert seen.scores.tolist() == [0.25] * 3
    assert labels.features(rows_of(url, "b"))[["x", "new"]].to_numpy().tolist() == [["many", 2.5]]
    rows = labels.read(url)
    assert rows["key.name"].tolist() == ["1", "2", "3", "4"]
    assert list(labels.COLUMNS) == list(rows)[: len(labels.COLUMNS)]
    assert rows.decision.all()
    assert rows.time[3] == at(DAY)


def test_an_outcome_that_its_sender_takes_back_corrects_the_day(folder: Path) -> None:
    add(folder, prediction("it", 0), prediction("now", 3 * DAY), outcome("it", 1))
    label()
    add(folder, outcome("it", 2, False))
    assert label()["corrected"] == ["2024-03-04"], "its status is the same"
    assert labels.read(settings().labels_url).outcome[0] == 0


def test_where_senders_disagree_nothing_is_used_until_they_agree(folder: Path) -> None:
    add(folder, *(prediction(name, 0) for name in ("it", "sure")), prediction("now", 3 * DAY))
    add(folder, outcome("it", 1), outcome("sure", 1), outcome("sure", 2, sender="another"))
    label()
    assert observe(settings().labels_url, "a").outcomes[:2].tolist() == [1, 1]
    add(folder, outcome("it", 2, False, "another"))
    found = label()
    assert (found["status"]["contradicted"], found["corrected"], found["coverage"]) == (1, ["2024-03-04"], 0.5)
    seen = observe(settings().labels_url, "a")
    assert (seen.matured.tolist(), seen.outcomes[1]) == ([False, True, False], 1)
    rows = labels.read(settings().labels_url).set_index("request_id")
    assert rows.status["it"] == "contradicted"
    assert rows.loc["it", ["outcome", "delay_hours"]].isna().all()
    assert "contradicted 1 33.3 %" in text(page())
    add(folder, outcome("it", 3, False))
    assert label()["status"]["contradicted"] == 0
    assert observe(settings().labels_url, "a").outcomes[:2].tolist() == [0, 1]


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


@pytest.mark.parametrize("folder", [spill.MANY], indirect=True)
def test_the_monitor_labels_first_then_judges_what_is_tried_out(folder: Path, tmp_path: Path) -> None:
    add(folder, prediction("it", 0))
    ran = ml("monitor", ML_STORE_URL=tmp_path, ML_RELEASE_FOLDER=tmp_path)
    assert ran.stdout.startswith("label     1 predictions of 1 days, 0 with their outcome; wrote 1 days, corrected 0")
    assert "nothing is released" in one_line(ran)
    canary = Experiment(name="trial", mode="canary", arms={"challenger": Arm(bundle="b" * 64, percent=5)})
    with configured(ML_RELEASE_FOLDER=tmp_path):
        release.write(Release(champion="a" * 64, experiment=canary))
    assert "\nexperiment no verdict yet: " in ml("monitor", ML_STORE_URL=tmp_path, ML_RELEASE_FOLDER=tmp_path).stdout


def test_a_table_that_is_not_there_or_of_another_form_names_the_verb_to_run(folder: Path) -> None:
    with pytest.raises(ContractError, match=r"holds no labels\. Run `ml label` first"):
        observe(settings().labels_url, "a")
    partitions.write(settings().labels_url, NOON.date(), pd.DataFrame({"request_id": ["it"]}))
    with pytest.raises(ContractError, match=r"has no column arm\. Remove it"):
        observe(settings().labels_url, "a")
    add(folder, prediction("it", 0))
    assert label()["written"] == ["2024-03-04"], "a partition of another form is written anew"
    assert len(observe(settings().labels_url, "a").scores) == 1
