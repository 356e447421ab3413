"""Batch scoring: the scores of the offline path, in files and in the online store; resumed, sharded, switched whole."""

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, configured, ml, one_line

from ml.contract import bundle as bundles
from ml.errors import ContractError
from ml.features.history import History
from ml.features.precomputed import POINTER, Pointer, Precomputed, table
from ml.features.rows import records_of
from ml.features.table import columns_of, columns_of_frame, inputs, json_of_frame, keys_of
from ml.online.store import OnlineStore, Unavailable, connect
from ml.problem.schema import KEY, Record, predicted_at
from ml.scoring import plan as plans
from ml.scoring import publish as publishing
from ml.scoring.plan import Plan, plan, save
from ml.scoring.publish import MANIFEST, publish, whole
from ml.scoring.run import Asked, asked, score_and_publish
from ml.scoring.run import plan as plan_and_save
from ml.scoring.score import score
from ml.store import partitions

DAYS = [date(2013, 4, 1), date(2013, 4, 2), date(2013, 4, 3)]
CHUNK, AN_HOUR = 400, timedelta(hours=1)


@pytest.fixture(scope="module")
def unlabelled(lake: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three days of records without their outcomes, in row groups that are no chunk's."""
    folder = tmp_path_factory.mktemp("unlabelled")
    for day in DAYS:
        table = pa.Table.from_pandas(partitions.read(lake, day).drop(columns="disrupted"))
        pq.write_table(table, folder / f"day={day}.parquet", row_group_size=150)
    return str(folder)


Planned = Callable[..., Plan]


@pytest.fixture
def planned(bundle: tuple[str, str], lake: str, unlabelled: str) -> Planned:
    """Plan a run over these records."""

    def make(records: str = unlabelled, as_of: datetime | None = None, chunk_rows: int = CHUNK) -> Plan:
        return plan(bundle[1], records, lake, DAYS[0], DAYS[-1], as_of, chunk_rows)

    return make


def scores_of(folder: Path, run: Plan) -> pd.DataFrame:
    """Return what a run wrote, in the order of its parts."""
    return pd.concat([pd.read_parquet(folder / run.run / part.name, partitioning=None) for part in run.parts()])


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.parquet")}


@pytest.fixture(scope="module")
def expected(bundle: tuple[str, str], lake: str) -> np.ndarray:
    """The scores of the offline path that training uses."""
    return bundles.load(*bundle).scorer.score(inputs(columns_of_frame(records_of(lake, DAYS))))


def test_each_record_gets_the_score_of_the_offline_path_without_its_label(
    planned: Planned, bundle: tuple[str, str], lake: str, expected: np.ndarray, tmp_path: Path
) -> None:
    run = planned()
    done = list(score(run, bundle[0], str(tmp_path)))
    found, records, model = scores_of(tmp_path, run), records_of(lake, DAYS), bundles.load(*bundle)
    assert done == [(part, False) for part in run.parts()]
    assert sum(part.rows for part in run.parts()) == len(records)
    assert {part.rows for part in run.parts()} > {CHUNK}
    pd.testing.assert_frame_equal(found[list(KEY)].reset_index(drop=True), records[list(KEY)], check_dtype=False)
    np.testing.assert_allclose(found.score, expected, rtol=0, atol=1e-7)
    assert (found.decision == (found.score >= model.threshold)).all()
    assert set(found.bundle) == {bundle[1]}
    due = predicted_at(columns_of_frame(records)).astype("datetime64[s]")
    assert (found.as_of.dt.tz_localize(None).to_numpy("datetime64[s]") == due).all()
    by_any_reader = pq.read_table(tmp_path / run.run)
    assert by_any_reader.num_rows == len(records)
    assert set(by_any_reader["day"].to_pylist()) == {str(day) for day in DAYS}


def test_nothing_is_used_that_became_known_after_the_moment_of_the_run(
    planned: Planned, bundle: tuple[str, str], lake: str, expected: np.ndarray, tmp_path: Path
) -> None:
    moment = datetime(2013, 4, 2, 12, tzinfo=UTC)
    run = planned(as_of=moment)
    list(score(run, bundle[0], str(tmp_path)))
    found, columns = scores_of(tmp_path, run), columns_of_frame(records_of(lake, DAYS)[list(Record.model_fields)])
    at = np.minimum(predicted_at(columns).astype("datetime64[s]").astype(np.int64), int(moment.timestamp()))
    as_known = bundles.load(*bundle).scorer.score(inputs(columns | History(lake).join(columns, at)))
    np.testing.assert_allclose(found.score, as_known, rtol=0, atol=1e-7)
    assert (np.abs(found.score - expected) > 1e-3).any()
    assert found.as_of.max() == pd.Timestamp(moment)


def test_a_run_is_named_by_all_that_determines_it(planned: Planned, bundle: tuple[str, str], lake: str) -> None:
    first = planned()
    assert planned().run == first.run
    assert planned(as_of=datetime(2014, 1, 1, tzinfo=UTC)).run == first.run, "all was due before"
    others = [planned(as_of=datetime(2013, 4, 2, tzinfo=UTC)), planned(records=lake), planned(chunk_rows=401)]
    others.append(plan("f" * 64, first.records, lake, DAYS[0], DAYS[-1], None, CHUNK))
    others.append(plan(bundle[1], first.records, lake, DAYS[1], DAYS[-1], None, CHUNK))
    assert len({first.run, *(each.run for each in others)}) == 6


def test_what_is_due_in_the_future_is_scored_as_of_the_last_full_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    class Told(plans.Clock):
        def now(self) -> datetime:
            return datetime(2013, 4, 2, 9, 41, tzinfo=UTC)

    monkeypatch.setattr(plans, "Clock", Told)
    assert plans._bound(DAYS[2], None) == datetime(2013, 4, 2, 9, tzinfo=UTC)
    assert plans._bound(date(2013, 4, 1), None) is None


def test_shards_write_the_same_bytes_as_one_process(planned: Planned, bundle: tuple[str, str], tmp_path: Path) -> None:
    run = planned()
    list(score(run, bundle[0], str(tmp_path / "alone")))
    shards = [run.shard(number, 2) for number in range(2)]
    assert sorted(day for shard in shards for day in shard) == DAYS
    for days in shards:
        list(score(run, bundle[0], str(tmp_path / "sharded"), days))
    assert contents(tmp_path / "sharded") == contents(tmp_path / "alone") != {}


def put(column: str, rows: list[int], value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].astype(object) if value is None else frame[column].copy()
        values.loc[rows] = value
        return frame.assign(**{column: values})

    return change


BROKEN = {
    "too low": (put("distance", [801, 805], -7), "distance lies below 10 on 2 rows, such as -7, -7"),
    "too high": (put("flight", [801], 10000), "flight lies above 9999 on 1 rows, such as 10000"),
    "infinite": (put("aircraft_seats", [801], np.inf), "aircraft_seats lies above 900 on 1 rows, such as inf"),
    "a fraction": (put("aircraft_built", [801], 1999.5), "aircraft_built is no whole number on 1 rows, such as 1999.5"),
    "another form": (put("origin", [801, 802, 803], "Newark"), "origin does not match ^[A-Z]{3}$ on 3 rows, such as"),
    "absent": (put("dest", [801], None), "dest is absent on 1 rows"),
    "absent number": (put("scheduled_minutes", [801], None), "scheduled_minutes is absent on 1 rows"),
    "too early": (
        put("scheduled_departure", [801], pd.Timestamp("1900-01-01", tz="UTC")),
        "scheduled_departure lies below 1930-01-01",
    ),
    "the same key": (
        lambda frame: pd.concat([frame.iloc[:804], frame.iloc[802:]], ignore_index=True),
        "the key is that of an earlier record on 2 rows",
    ),
    "another day": (
        put("scheduled_departure", [801], pd.Timestamp("2013-04-09 12:00", tz="UTC")),
        "1 records whose prediction is due on another day",
    ),
}


@pytest.fixture
def changed(unlabelled: str, tmp_path: Path) -> Callable[[Callable[[pd.DataFrame], pd.DataFrame]], str]:
    """Change the records of the second day and return where all of them lie then."""

    def change(how: Callable[[pd.DataFrame], pd.DataFrame]) -> str:
        for day in DAYS:
            rows = partitions.read(unlabelled, day)
            partitions.write(str(tmp_path / "changed"), day, how(rows) if day == DAYS[1] else rows)
        return str(tmp_path / "changed")

    return change


@pytest.mark.parametrize(("how", "says"), BROKEN.values(), ids=BROKEN)
def test_records_that_break_the_schema_end_the_run_with_field_rule_and_count(
    planned: Planned, changed, bundle: tuple[str, str], tmp_path: Path, how, says: str
) -> None:
    run, scores, online = planned(records=changed(how)), str(tmp_path / "scores"), str(tmp_path / "online")
    with pytest.raises(ContractError) as raised:
        list(score(run, bundle[0], scores))
    assert says in raised.value.broken
    assert f"day={DAYS[1]}/part-00002.parquet" in raised.value.broken
    with pytest.raises(ContractError, match=r"files of the run .* are not there"):
        publish(run, whole(run, scores), scores, online, 1)
    assert not Path(online).exists()
    assert not (tmp_path / "scores" / run.run / MANIFEST).exists()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (lambda frame: frame.drop(columns="dest"), "has no column dest"),
        (lambda frame: frame.assign(distance="far"), "distance of .* is large_string, and no number"),
        (lambda frame: frame.assign(origin=7), "origin of .* is int64, and no category"),
        (
            lambda frame: frame.assign(scheduled_departure=frame.scheduled_departure.dt.tz_localize(None)),
            "scheduled_departure of .* is timestamp.us., and no time",
        ),
    ],
    ids=["no column", "text for a number", "number for a text", "no zone"],
)
def test_partitions_of_another_form_are_refused_before_anything_is_scored(planned: Planned, changed, how, says) -> None:
    with pytest.raises(ContractError, match=says):
        planned(records=changed(how))


def test_partitions_may_differ_in_how_they_write_the_same_columns(
    planned: Planned, unlabelled: str, bundle: tuple[str, str], tmp_path: Path
) -> None:
    records = tmp_path / "written"
    records.mkdir()
    for day in DAYS:
        table = pq.read_table(partitions.place(unlabelled, day), partitioning=None)
        if day == DAYS[1]:
            other = {
                "origin": pa.dictionary(pa.int32(), pa.string()),
                "scheduled_departure": pa.timestamp("ns", "America/New_York"),
                "distance": pa.float32(),
            }
            fields = [field.with_type(other.get(field.name, field.type)) for field in table.schema]
            table = table.cast(pa.schema(fields))
        pq.write_table(table, partitions.place(str(records), day))
    runs = planned(chunk_rows=3000), planned(records=str(records), chunk_rows=3000)
    for run in runs:
        list(score(run, bundle[0], str(tmp_path)))
    plain, written = (scores_of(tmp_path, run) for run in runs)
    assert list(written.score) == list(plain.score)
    assert list(written.name) == list(plain.name)


def test_a_broken_sample_is_refused_by_great_expectations_before_anything_is_scored(
    changed, bundle: tuple[str, str], lake: str, tmp_path: Path
) -> None:
    records = changed(lambda frame: frame.assign(distance=-7))
    with pytest.raises(ContractError, match=r"of a sample of 900 records: distance: column values to be between"):
        plan_and_save(Asked(bundle[1], records, lake, str(tmp_path / "scores"), DAYS[0], DAYS[-1], None, CHUNK))
    assert not (tmp_path / "scores").exists()


def test_an_absent_day_and_a_partition_that_is_none_or_changed_are_named(
    planned: Planned, changed, bundle: tuple[str, str], lake: str, tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match="has no partition of 2013-04-04"):
        plan(bundle[1], planned().records, lake, DAYS[0], date(2013, 4, 4), None, CHUNK)
    records = changed(lambda frame: frame)
    run = planned(records=records)
    partitions.write(records, DAYS[2], partitions.read(records, DAYS[2]).iloc[:-1])
    with pytest.raises(ContractError, match=rf"day={DAYS[2]}.parquet has changed since the run was planned"):
        list(score(run, bundle[0], str(tmp_path / "scores")))
    Path(partitions.place(records, DAYS[2])).write_bytes(b"none")
    with pytest.raises(ContractError, match="is no Parquet file"):
        planned(records=records)


def test_of_two_processes_that_score_the_same_run_one_is_refused(
    planned: Planned, bundle: tuple[str, str], tmp_path: Path
) -> None:
    run = planned()
    lock = tmp_path / run.run / "_locks" / str(DAYS[0])
    lock.mkdir(parents=True)
    with (lock / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ContractError, match="another scoring run is running"):
            list(score(run, bundle[0], str(tmp_path)))
    assert not any(part.before for part in score(run, bundle[0], str(tmp_path)))


@pytest.fixture
def scored(planned: Planned, bundle: tuple[str, str], tmp_path: Path) -> tuple[Plan, str, str]:
    """A run that was scored, where its scores lie, and an online store."""
    run, scores = planned(), str(tmp_path / "scores")
    list(score(run, bundle[0], scores))
    return run, scores, str(tmp_path / "online")


def keys_of_requests(unlabelled: str) -> list[dict]:
    """Return the keys as the service has them: of requests, not of a frame."""
    frame = pd.concat([partitions.read(unlabelled, day) for day in DAYS], ignore_index=True)
    plain = json.dumps(json_of_frame(frame))
    return keys_of(columns_of([Record.model_validate_json(json.dumps(each)) for each in json.loads(plain)]))


def test_the_service_finds_what_was_published_by_the_keys_of_its_requests(
    scored: tuple[Plan, str, str], unlabelled: str, tmp_path: Path
) -> None:
    run, scores, online = scored
    done = publish(run, whole(run, scores), scores, online, 1)
    assert done.rows == run.rows
    with contextlib.closing(connect(online)) as store:
        found = Precomputed(store).find(keys_of_requests(unlabelled), datetime.now(UTC), run.bundle)
    assert found == scores_of(Path(scores), run).score.tolist()
    manifest = json.loads((Path(scores) / run.run / MANIFEST).read_text())
    assert (manifest["run"], manifest["rows"]) == (run.run, run.rows)
    assert manifest["parts"] == [part.name for part in run.parts()]


class Failing:
    """A store that goes away after so many puts."""

    def __init__(self, store: OnlineStore, puts: int) -> None:
        self._store, self._left = store, puts

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def put(self, table, values, expires) -> None:
        if not self._left:
            raise Unavailable("gone")
        self._left -= 1
        self._store.put(table, values, expires)


def test_what_was_put_before_an_interruption_is_not_put_again_and_nothing_counts_before_all_is_there(
    scored: tuple[Plan, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, scores, online = scored
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "connect", lambda url: Failing(connect(url), puts=6))
        with pytest.raises(ContractError, match="online store: gone"):
            publish(run, whole(run, scores), scores, online, 1)
    with contextlib.closing(connect(online)) as store:
        assert store.read([POINTER]) == [None]
    parts = whole(run, scores)
    put = sum(part.rows for part in parts[2:])  # two puts a part, one before
    assert publish(run, parts, scores, online, 1).rows == put
    assert publish(run, parts, scores, online, 1).rows == 0


class Waiting:
    """A store into which nothing is put before so many files lie in a folder."""

    def __init__(self, store: OnlineStore, folder: Path, number: int) -> None:
        self._store, self._folder, self._number = store, folder, number

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def put(self, table, values, expires) -> None:
        first, *others = values
        if len(first[0]) == 16:  # a record's name, not a mark
            deadline = time.monotonic() + 20
            while len(contents(self._folder)) < self._number:
                assert time.monotonic() < deadline, "nothing was scored meanwhile"
                time.sleep(0.01)
        self._store.put(table, [first, *others], expires)


def test_a_part_is_scored_while_the_one_before_is_put(
    planned: Planned, bundle: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, scores, online = planned(), str(tmp_path / "scores"), str(tmp_path / "online")
    save(scores, run)
    monkeypatch.setattr(publishing, "connect", lambda url: Waiting(connect(url), tmp_path / "scores" / run.run, 2))
    score_and_publish(run.run, bundle[0], scores, online, 1)
    with contextlib.closing(connect(online)) as store:
        assert Pointer.load(store.read([POINTER])[0]).run == run.run


@pytest.fixture
def two(planned: Planned, bundle: tuple[str, str], tmp_path: Path) -> tuple[Plan, Plan, str]:
    """Two runs that were scored."""
    runs = planned(), planned(chunk_rows=401)
    for run in runs:
        list(score(run, bundle[0], str(tmp_path / "scores")))
    return *runs, str(tmp_path / "scores")


def keys_held(store: OnlineStore, run: Plan, scores: str) -> int:
    """Return how many of a run's scores the store holds."""
    names = scores_of(Path(scores), run).name.tolist()
    return sum(value is not None for value in store.look_up(table(run.run), names))


def test_a_later_run_removes_the_earlier_one_once_no_reader_can_believe_in_it(
    two: tuple[Plan, Plan, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second, scores = two
    with contextlib.closing(connect(str(tmp_path / "online"))) as store:
        for run in (first, second, second):
            publishing.put(store, run, run.parts(), scores, AN_HOUR)
        assert keys_held(store, first, scores) == first.rows, "a reader may have read the pointer a moment ago"
        monkeypatch.setattr("ml.scoring.switch.GRACE", -60.0)
        publishing.put(store, second, second.parts(), scores, AN_HOUR)
        assert keys_held(store, first, scores) == 0
        assert keys_held(store, second, scores) == second.rows
        assert Pointer.load(store.read([POINTER])[0]).run == second.run
        assert publishing.put(store, first, first.parts(), scores, AN_HOUR).rows == first.rows


def test_a_run_that_was_removed_while_it_was_put_does_not_count(
    two: tuple[Plan, Plan, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second, scores = two
    values = publishing._values
    with contextlib.closing(connect(str(tmp_path / "online"))) as store:

        def and_meanwhile(part, run, *where) -> Iterator[tuple[bytes, bytes]]:
            if run == first.run and part == first.parts()[-1]:
                publishing.put(store, second, second.parts(), scores, AN_HOUR)
            return values(part, run, *where)

        monkeypatch.setattr(publishing, "_values", and_meanwhile)
        with pytest.raises(ContractError, match="were removed by another run meanwhile"):
            publishing.put(store, first, first.parts(), scores, AN_HOUR)
        assert Pointer.load(store.read([POINTER])[0]).run == second.run


def test_what_was_asked_for_wrongly_is_told_in_one_line(bundle: tuple[str, str], tmp_path: Path) -> None:
    with configured(ML_STORE_URL=bundle[0]):
        with pytest.raises(ContractError, match="--as-of: 2013-04-01 has no offset"):
            asked(DAYS[0], DAYS[1], "2013-04-01", bundle[1], None)
        assert asked(DAYS[0], DAYS[1], None, bundle[1][:8], None).bundle == bundle[1]
    line = one_line(ml("score", "--since", "2013-04-01", "--until", "2013-04-01", ML_STORE_URL=tmp_path))
    assert "Run `ml release`" in line


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "ml", *map(str, words), "--since", "2013-04-01", "--until", "2013-04-03"]


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_without_double_work_and_ends_as_one_that_was_not(
    bundle: tuple[str, str], lake: str, unlabelled: str, tmp_path: Path
) -> None:
    variables = {"ML_STORE_URL": bundle[0], "ML_RELEASE_BUNDLE": bundle[1], "ML_SCORE_CHUNK_ROWS": "100"}
    ran = {}
    for name in ("whole", "killed"):
        own = {"ML_RELEASE_ENVIRONMENT": name, "ML_ONLINE_URL": str(tmp_path / name)}
        ran[name] = {**os.environ, **variables, **own}
    words = command("score", "--from", unlabelled)
    whole = subprocess.run(words, cwd=ROOT, env=ran["whole"], capture_output=True, text=True, check=True)
    run = re.findall(r"the run (\w+)", whole.stdout)[0]
    folder = {name: Path(bundle[0]) / "scores" / name / run for name in ran}
    process = subprocess.Popen(words, cwd=ROOT, env=ran["killed"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(done := contents(folder["killed"])) < 7 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = contents(folder["killed"])
    assert 7 <= len(done) < len(contents(folder["whole"]))
    assert not (folder["killed"] / MANIFEST).exists()
    again = subprocess.run(words, cwd=ROOT, env=ran["killed"], capture_output=True, text=True, check=True)
    rows = sum(pq.read_metadata(folder["killed"] / name).num_rows for name in done)
    total = int(re.findall(r"([\d,]+) records of 3 days", whole.stdout)[0].replace(",", ""))
    assert f"scored {total - rows:,} records in " in again.stdout
    assert f", {len(done)} were there already" in again.stdout
    assert contents(folder["killed"]) == contents(folder["whole"])
    assert (folder["killed"] / MANIFEST).read_bytes() == (folder["whole"] / MANIFEST).read_bytes()


@pytest.mark.slow
def test_shards_of_the_kubeflow_pipeline_give_what_one_process_gives(
    bundle: tuple[str, str], unlabelled: str, tmp_path: Path
) -> None:
    found, keys = {}, keys_of_requests(unlabelled)
    for name, verb in {"alone": ("score",), "sharded": ("pipeline", "score", "--shards", "2")}.items():
        own = {"ML_STORE_URL": bundle[0], "ML_RELEASE_BUNDLE": bundle[1], "ML_RELEASE_ENVIRONMENT": name}
        own |= {"ML_ONLINE_URL": str(tmp_path / name), "ML_SCORE_CHUNK_ROWS": "400"}
        words = command(*verb, "--from", unlabelled)
        ran = subprocess.run(words, cwd=ROOT, env={**os.environ, **own}, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert len(re.findall(r"^score ", ran.stdout, re.MULTILINE)) == (2 if name == "sharded" else 1)
        with contextlib.closing(connect(str(tmp_path / name))) as store:
            answers = Precomputed(store).find(keys, datetime.now(UTC) + timedelta(seconds=1), bundle[1])
        found[name] = contents(Path(bundle[0]) / "scores" / name), answers
    assert found["alone"] == found["sharded"]
    assert found["alone"][0]
    assert None not in found["alone"][1]
