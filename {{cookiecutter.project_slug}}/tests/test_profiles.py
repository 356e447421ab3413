"""Profiles of what was served: each prediction counts once, whatever was put together, repeated or interrupted."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import ROOT, configured, ml

from ml.contract.events import FEATURES, LOGGED, PREDICTIONS, TABLES
from ml.contract.profile import Profile
from ml.contract.reference import Bins, Variable
from ml.contract.release import CHAMPION
from ml.errors import ContractError
from ml.eventlog import segments, upkeep
from ml.features.table import NUMBERS, SCORE
from ml.monitoring import profile_files, profile_writer, profiles, profiling
from ml.settings import settings
from ml.store import files

import whylogs  # isort: skip  # once ml.contract.profile has given NumPy the names that it asks for

BUNDLE = "b" * 64
NUMBER, TEXT = NUMBERS[0].name, next(each.name for each in LOGGED if each.kind == "category")
NOON = datetime(2013, 4, 1, 16, tzinfo=UTC)  # local: the framing's zone is New York's
DAY, NEXT = date(2013, 4, 1), date(2013, 4, 2)
ALWAYS = (date(2013, 1, 1), date(2013, 12, 31))
VARIABLES = [
    Variable(NUMBER, False, Bins("number", [10.0, 20.0, 30.0], [], []), [], []),
    Variable(TEXT, False, Bins("category", [], [], ["a", "b"]), [], []),
    Variable(SCORE, False, Bins("number", [0.5], [], []), [], []),
]
PLAIN = {"text": "x", "number": 0.5, "single": 0.5, "flag": True, "time": NOON}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Where a log of one's own lies."""
    with configured(ML_STORE_URL=tmp_path):
        yield settings().events_url


def rows_of(seed: int, count: int, since: datetime = NOON, hours: float = 1, **more: Any) -> pd.DataFrame:
    """Return predictions, evenly over some hours; a tenth of the texts, and of the numbers, is missing."""
    drawn = np.random.default_rng(seed)
    plain = {name: PLAIN[kind] for name, kind in TABLES[PREDICTIONS].items()}
    numbers = np.where(drawn.random(count) < 0.1, np.nan, drawn.gamma(2, 10, count)).astype(np.float32)
    told = {
        "time": [since + timedelta(hours=hours * at / count) for at in range(count)],
        "bundle": BUNDLE,
        "arm": CHAMPION,
        "score": drawn.random(count),
        FEATURES + NUMBER: numbers,
        FEATURES + TEXT: drawn.choice(["a", "b", "c", ""], count, p=[0.5, 0.3, 0.1, 0.1]),
    }
    return pd.DataFrame({**{name: [value] * count for name, value in plain.items()}, **told, **more})


def segment(url: str, name: str, rows: pd.DataFrame) -> None:
    """Write a closed segment of predictions."""
    told = {
        name: list(rows[name].dt.to_pydatetime()) if kind == "time" else rows[name].tolist()
        for name, kind in TABLES[PREDICTIONS].items()
    }
    whole = pa.Table.from_batches([segments.batch(PREDICTIONS, [(told, len(rows))])])
    files.write(files.join(url, PREDICTIONS, f"{name}.parquet"), segments.closed(whole))


def profile(keep_days: int = 400) -> profiling.Done:
    return profiling.profile(settings().events_url, settings().profiles_url, keep_days)


def counts(arms: Sequence[str] | None = None) -> profiles.Counted:
    return profiles.counts(settings().profiles_url, BUNDLE, VARIABLES, *ALWAYS, arms)


def total(of: profiles.Counted) -> int:
    (everything,) = {int(each.sum()) for each in of.counts.values()}
    return everything


def exact(*of: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what profiles should say of rows, cell by cell."""
    rows = pd.concat(of)
    columns = {NUMBER: rows[FEATURES + NUMBER].to_numpy(np.float64), SCORE: rows.score.to_numpy()}
    columns[TEXT] = rows[FEATURES + TEXT].to_numpy(object)
    return {each.name: each.bins.count(columns[each.name]) for each in VARIABLES}


def kept() -> list[str]:
    return [part.name for _, parts in profile_files.parts(settings().profiles_url) for part in parts]


def test_parts_of_replicas_and_hours_count_as_the_whole(url: str) -> None:
    of = [rows_of(seed, 3000, NOON + timedelta(hours=seed), hours=1.5) for seed in range(4)]
    for at, rows in enumerate(of):
        segment(url, f"20130401T1{at}0000.0-a", rows[::2])
        segment(url, f"20130401T1{at}0001.0-b", rows[1::2])
    done = profile()
    assert (done.rows, done.merged) == (12000, 1)
    found, whole = counts(), exact(*of)
    assert found.days == [DAY]
    assert total(found) == 12000
    assert found.counts[TEXT][0].tolist() == whole[TEXT].tolist()
    for name in (NUMBER, SCORE):
        assert found.counts[name][0, -1] == whole[name][-1], "what is missing is counted, not estimated"
        assert np.abs(found.counts[name][0] - whole[name]).max() <= 0.01 * 12000


def test_days_are_local_and_hours_too(url: str) -> None:
    segment(url, "20130402T000000.0-a", rows_of(1, 400, datetime(2013, 4, 2, 2, tzinfo=UTC), hours=4))
    profile()
    assert counts().days == [DAY, NEXT]
    assert counts().counts[SCORE].sum(axis=1).tolist() == [200, 200], "midnight in New York is 4 UTC"
    assert [place.hour for place, _ in profile_files.parts(settings().profiles_url)][:2] == [
        "2013-04-01T22",
        "2013-04-01T23",
    ]
    for day in (DAY, NEXT):
        assert profiles.counts(settings().profiles_url, BUNDLE, VARIABLES, day, day).days == [day]


def test_what_was_profiled_is_not_again_and_what_is_new_is(url: str) -> None:
    segment(url, "20130401T100000.0-a", rows_of(1, 100))
    assert profile().rows == 100
    assert profile() == (0, 0, 0, 0)
    segment(url, "20130401T100100.0-b", rows_of(2, 100))
    assert profile().rows == 100
    assert total(counts()) == 200


@pytest.mark.parametrize("compacted", [True, False])
def test_compaction_counts_once_also_where_a_segment_came_late(url: str, compacted: bool) -> None:
    segment(url, "20130401T100000.0-a", rows_of(1, 100))
    segment(url, "20130401T101000.0-b", rows_of(2, 100))
    segment(url, "20130401T120000.0-z", rows_of(9, 100, NOON + timedelta(hours=9)))
    if compacted:
        profile()
    segment(url, "20130401T102000.0-c", rows_of(3, 100))
    assert upkeep.compact(url) == 3
    profile()
    assert total(counts()) == 400
    segment(url, "20130401T103000.0-d", rows_of(4, 100))  # of a pod that was away
    assert upkeep.compact(url) == 2
    assert profile().rows == 100
    assert upkeep.compact(url) == 0
    assert profile().rows == 0
    assert total(counts()) == 500


def test_an_interrupted_compaction_counts_once(url: str) -> None:
    for name in ("20130401T100000.0-a", "20130401T101000.0-b"):
        segment(url, name, rows_of(1, 100))
    segment(url, "20130401T120000.0-z", rows_of(9, 100))
    left = files.read(files.join(url, PREDICTIONS, "20130401T100000.0-a.parquet"))
    upkeep.compact(url)
    files.write(files.join(url, PREDICTIONS, "20130401T100000.0-a.parquet"), left)
    assert profile().rows == 300
    assert profile().rows == 0


def test_who_was_erased_after_being_profiled_leaves_the_others_counted_once(url: str) -> None:
    for at, name in enumerate(("20130401T100000.0-a", "20130401T101000.0-b", "20130401T120000.0-z")):
        segment(url, name, rows_of(at, 100, request_id=[f"{name}{row}" for row in range(100)]))
    profile()
    upkeep.compact(url)
    upkeep.take_out(url, {f"20130401T100000.0-a{row}" for row in range(30)})
    assert profile().rows == 0
    assert total(counts()) == 300


def interrupted(monkeypatch: pytest.MonkeyPatch, what: str, at: int) -> None:
    """Let a run end as if it were killed, at the so-manieth time that something is done."""
    done, real = 0, getattr(files, what)

    def stop(*given: Any) -> Any:
        nonlocal done
        done += 1
        if done > at:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(files, what, stop)
        with pytest.raises(KeyboardInterrupt):
            profile()


@pytest.mark.parametrize("at", range(5))
def test_a_run_that_is_killed_while_it_writes_counts_once(url: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    segment(url, "20130401T100000.0-a", rows_of(1, 100, hours=2))
    segment(url, "20130401T110000.0-b", rows_of(2, 100, hours=2))
    interrupted(monkeypatch, "write", at)
    segment(url, "20130401T100001.0-c", rows_of(3, 100, NOON + timedelta(hours=9)))
    profile()
    assert total(counts()) == 300
    assert len({name.partition(".")[0] for name in kept() if not name.startswith("merged")}) <= 2
    assert len(kept()) == 3, "what the killed run had left is gone"


def test_what_a_killed_run_wrote_and_the_next_one_does_not_counts_for_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(1, 100, arm=[CHAMPION, "new"] * 50)
    segment(url, "20130401T100000.0-a", rows)
    interrupted(monkeypatch, "write", 2)
    segment(url, "20130401T100000.0-a", rows[rows.arm == CHAMPION])  # the others were erased
    assert profile().rows == 50
    assert profiles.arms(settings().profiles_url, BUNDLE) == [CHAMPION]
    assert total(counts()) == 50


@pytest.mark.parametrize("at", range(3))
def test_a_merge_that_is_killed_counts_once(url: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        segment(url, f"20130401T100000.0-{name}", rows_of(1, 100))
        profile()
    segment(url, "20130401T200000.0-z", rows_of(9, 100, NOON + timedelta(hours=9)))
    assert len(kept()) == 3
    interrupted(monkeypatch, "remove", at)
    assert len(kept()) == 5 - at
    assert total(counts()) == 400
    assert profile().merged == 1
    assert total(counts()) == 400
    assert len(kept()) == 2
    segment(url, "20130401T100000.0-d", rows_of(4, 100))
    assert profile().merged == 1, "what comes late joins its hour"
    assert total(counts()) == 500


@pytest.mark.parametrize("at", [None, 1, 2])
def test_the_hours_of_a_day_that_is_over_become_one_part(
    url: str, at: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = [rows_of(hour, 500, NOON + timedelta(hours=hour)) for hour in range(4)]
    later = rows_of(9, 100, NOON + timedelta(days=3))
    for hour, rows in enumerate([*of, later]):
        segment(url, f"20130401T1{hour}0000.0-a", rows)
    if at is not None:
        interrupted(monkeypatch, "remove", at)
        assert counts().counts[TEXT][0].tolist() == exact(*of)[TEXT].tolist()
    profile()
    assert len(kept()) == 2, "a day, and the hour that is not over"
    late = rows_of(10, 50, NOON + timedelta(hours=1))
    segment(url, "20130401T150000.0-a", late)
    profile()
    assert len(kept()) == 2
    assert counts().counts[TEXT][0].tolist() == exact(*of, late)[TEXT].tolist()


def test_arms_and_bundles_are_kept_apart_and_counted_together_where_asked(url: str) -> None:
    other = "https://elsewhere.example/predict"  # a service that answers for a bundle is called by its URL
    arms, bundles = ["", CHAMPION, "new"] * 100, [BUNDLE, BUNDLE, other] * 100
    segment(url, "20130401T100000.0-a", rows_of(1, 300, arm=arms, bundle=bundles))
    segment(url, "20130401T100000.0-b", rows_of(2, 50, arm=None))
    assert profile().rows == 350
    assert profiles.arms(settings().profiles_url, BUNDLE) == ["", CHAMPION]
    assert profiles.arms(settings().profiles_url, other) == ["new"]
    assert profiles.arms(settings().profiles_url, "absent") == []
    assert [total(counts([arm])) for arm in ("", CHAMPION)] == [150, 100]
    assert total(counts()) == total(counts(["", CHAMPION])) == 250


def test_profiles_lie_in_an_object_store_as_well(url: str) -> None:
    for name in ("a", "b"):
        segment(url, f"20130401T100000.0-{name}", rows_of(1, 100, bundle="https://elsewhere.example/predict"))
        assert profiling.profile(url, "memory://bucket/profiles", 400).rows == 100
    segment(url, "20130502T100000.0-z", rows_of(1, 100, NOON + timedelta(days=31)))
    assert profiling.profile(url, "memory://bucket/profiles", 400).merged == 1
    asked = ("memory://bucket/profiles", "https://elsewhere.example/predict", VARIABLES)
    assert total(profiles.counts(*asked, *ALWAYS)) == 200
    assert profiling.profile(url, "memory://bucket/profiles", 30) == (0, 0, 0, 1)
    assert profiles.counts(*asked, *ALWAYS).days == []


def test_what_is_too_old_is_dropped_and_does_not_come_back(url: str) -> None:
    segment(url, "20130401T100000.0-a", rows_of(1, 100))
    segment(url, "20130501T100000.0-b", rows_of(2, 100, NOON + timedelta(days=30)))
    assert profile(keep_days=30).dropped == 0
    assert profile(keep_days=29).dropped == 1
    assert counts().days == [DAY + timedelta(days=30)]
    assert profile(keep_days=29) == (0, 0, 0, 0)


def test_an_hour_that_is_merged_while_it_is_read_is_read_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        segment(url, f"20130401T100000.0-{name}", rows_of(1, 100))
        profile()
    segment(url, "20130401T200000.0-z", rows_of(9, 100, NOON + timedelta(days=1)))
    real, merged = profiles.together, []

    def late(*given: Any) -> Profile:
        if not merged:
            merged.append(profile().merged)
        return real(*given)

    monkeypatch.setattr(profiles, "together", late)
    assert total(counts()) == 200
    assert merged == [1]


def test_a_log_that_changes_under_its_reader_counts_nothing_and_says_so(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment(url, "20130401T100000.0-a", rows_of(1, 100))
    with monkeypatch.context() as patch:
        patch.setattr(profiling.read, "names", lambda *_: ["20130401T100000.0-a", "20130401T100000.0-gone"])
        with pytest.raises(ContractError, match="changes while it is profiled"):
            profile()
    assert counts().days == []
    assert profile().rows == total(counts()) == 100


def given_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many rows are in memory at once, each time that some are profiled."""
    given, real = list[int](), profile_writer.Writer.add

    def add(writer: profile_writer.Writer, rows: pa.Table) -> None:
        given.append(len(rows))
        real(writer, rows)

    monkeypatch.setattr(profile_writer.Writer, "add", add)
    return given


def test_small_segments_are_profiled_together_and_large_ones_piece_by_piece(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "ROWS", 1500)
    given = given_at_once(monkeypatch)
    for at in range(20):
        segment(url, f"20130401T1000{at:02}.0-a", rows_of(at, 100))
    profile()
    assert given == [1500, 500]
    segment(url, "20130401T110000.0-b", rows_of(30, 4000))
    profile()
    assert given[2:] == [1500, 1500, 1000]
    assert total(counts()) == 6000


def test_of_many_hours_few_are_in_memory_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_writer, "OPEN", 2)
    monkeypatch.setattr(profiling, "ROWS", 500)
    for name in ("a", "b"):  # a replay: five hours in a moment, twice
        segment(url, f"20130401T100000.0-{name}", rows_of(1, 500, hours=5))
    assert profile().parts == 10, "an hour that comes again is another part"
    assert total(counts()) == 1000


def test_what_a_segment_was_logged_without_is_neither_there_nor_missing(url: str) -> None:
    segment(url, "20130401T100000.0-a", rows_of(1, 100))
    whole, _ = segments.read_closed(files.read(files.join(url, PREDICTIONS, "20130401T100000.0-a.parquet")))
    before = segments.closed(whole.drop_columns([FEATURES + TEXT]))  # by code that did not know it yet
    files.write(files.join(url, PREDICTIONS, "20130401T100001.0-b.parquet"), before)
    assert profile().rows == 200
    assert {name: int(each.sum()) for name, each in counts().counts.items()} == {NUMBER: 200, SCORE: 200, TEXT: 100}


def test_hashes_of_personal_fields_are_in_no_profile(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "HASHED", {FEATURES + TEXT})
    segment(url, "20130401T100000.0-a", rows_of(1, 100))
    profile()
    assert {name: int(each.sum()) for name, each in counts().counts.items()} == {NUMBER: 100, SCORE: 100, TEXT: 0}


@pytest.mark.filterwarnings("ignore:invalid value encountered")  # the mean of what is infinite
def test_a_profile_says_what_whylogs_would_have_made_of_the_frame() -> None:
    drawn = np.random.default_rng(0)
    numbers = np.where(drawn.random(5000) < 0.1, np.nan, drawn.normal(0, 1, 5000))
    numbers[7] = np.inf
    frame = pd.DataFrame({"number": numbers, "whole": drawn.integers(0, 9, 5000).astype(float)})
    frame["text"] = drawn.choice(["", *(f"name {at}" for at in range(300))], 5000)
    own, theirs = Profile.of(frame), Profile(whylogs.log(pandas=frame.replace("", None)).view())
    bins = {name: Bins.of(frame[name].to_numpy(np.float64)) for name in ("number", "whole")}
    bins["text"] = Bins("category", [], [], ["name 1", "name 2"])
    for name, cells in bins.items():
        assert own.summary(name) == pytest.approx(theirs.summary(name), nan_ok=True)
        assert np.abs(own.counts(name, cells) - theirs.counts(name, cells)).max() <= (0 if name == "text" else 50)
    views = [{**each._view.get_column("number").to_summary_dict()} for each in (own, theirs)]
    assert [view["counts/inf"] for view in views] == [1, 1]
    assert set(views[0]) == set(views[1]), "whoever reads it with whylogs finds all that is usual"


@pytest.mark.slow  # whylogs is loaded anew
def test_whylogs_still_misses_what_numpy_took_away_and_works_with_it() -> None:
    """Where this fails, the lines in ml/contract/profile.py that give NumPy these names back have become needless."""
    asked = (
        "import numpy, pandas, whylogs.core.datatypes as types\n"
        "names = ('unicode_', 'string_', 'float_')\n"
        "assert not {*names} & {*numpy.__dict__}, names\n"
        "try: types.String.match(numpy.dtype(str))\n"
        "except AttributeError as error: print(error)\n"
        "from ml.contract.profile import Profile\n"
        "assert {*names} <= {*numpy.__dict__}\n"
        "print(Profile.of(pandas.DataFrame({'text': ['a', 'a', '']})).summary('text')['count'])"
    )
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=ROOT)
    complaint, count = ran.stdout.splitlines()
    assert "unicode_" in complaint
    assert count == "3"


@pytest.mark.slow
def test_the_verb_says_what_it_did(url: str) -> None:
    segment(url, "20130401T100000.0-a", rows_of(1, 1234))
    ran = ml("profile", ML_STORE_URL=settings().store_url)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("profile   profiled 1,234 new predictions in 1 parts, ")
    assert total(counts()) == 1234
