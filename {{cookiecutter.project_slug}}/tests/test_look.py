"""What a look of the monitor takes: a day's profile or its labels, and which requests it sends through offline."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from conftest import configured
from test_profiles import BUNDLE, DAY, TEXT, profile, rows_of, segment

from ml.contract import labels
from ml.contract.bundle import Bundle
from ml.errors import ContractError
from ml.features.table import NAMES, SCORE
from ml.monitoring import look, skew
from ml.monitoring.daily import Daily
from ml.monitoring.exporter import Reports
from ml.monitoring.observations import Observations
from ml.monitoring.skew import Differing, Skew
from ml.settings import settings
from ml.store import files, partitions

CHAMPION = cast(Bundle, SimpleNamespace(digest=BUNDLE))


@pytest.fixture(autouse=True)
def log(tmp_path: Path) -> Iterator[str]:
    """Where a log of one's own lies, whose champion is BUNDLE."""
    with configured(ML_STORE_URL=tmp_path, ML_RELEASE_BUNDLE=BUNDLE):
        yield settings().events_url


def served(count: int) -> Daily:
    """Return the sums of so many predictions of a day."""
    return Daily.of(Observations(np.full(count, 0.1), np.zeros(count), np.full(count, str(DAY)), np.ones(count)))


def test_a_day_that_is_not_all_profiled_yet_is_taken_from_its_labels_of_the_champion(log: str) -> None:
    segment(log, "20130401T100000.0-a", rows_of(1, 100))
    profile()
    told = rows_of(2, 200, bundle=[BUNDLE, BUNDLE, BUNDLE, "other"] * 50)
    partitions.write(settings().labels_url, DAY, told.assign(**dict.fromkeys(set(labels.COLUMNS) - set(told))))
    for count in (100, 150):
        found = look._profiles(CHAMPION, served(count))
        assert list(found) == [str(DAY)]
        assert found[str(DAY)].summary(SCORE)["count"] == found[str(DAY)].summary(TEXT)["count"] == count


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """What is compared with the offline path, in the place of which one feature differs."""
    found = list[pd.DataFrame]()

    def compare(lake: str, rows: pd.DataFrame) -> Skew:
        found.append(rows)
        return Skew(len(rows), 0, [Differing(NAMES[0], 3, {}, 1.0, 2.0)])

    monkeypatch.setattr(skew, "compare", compare)
    return found


def test_a_sample_of_what_the_champion_computed_itself_is_compared_and_told_to_prometheus(
    log: str, compared: list[pd.DataFrame]
) -> None:
    more = {"degraded": [True] + [False] * 99, "stored": [False, True] + [False] * 98}
    segment(log, "20130401T100000.0-a", rows_of(1, 100, bundle=[BUNDLE] * 50 + ["other"] * 50, **more))
    skew.skew(1000)
    skew.skew(20)
    assert [len(each) for each in compared] == [48, 20]
    assert not (compared[0].degraded | compared[0].stored | (compared[0].bundle != BUNDLE)).any()
    assert compared[1].index.is_monotonic_increasing
    assert compared[1].index[-1] > 20, "the sample is of all, not of the first"
    told = json.loads(files.read(files.join(settings().reports_url, "skew.json")))
    assert (told["compared"], [each["feature"] for each in told["differing"]]) == (20, [NAMES[0]])
    series = {each.name: each.samples[0].value for each in Reports(settings().reports_url).collect()}
    assert (series["ml_monitor_skewed_features"], series["ml_monitor_skew_compared_requests"]) == (1, 20)


def test_a_look_that_can_compare_nothing_goes_on_and_says_why(
    log: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skew.sampled()
    assert "not compared: " in capsys.readouterr().out
    segment(log, "20130401T100000.0-a", rows_of(1, 10, degraded=False, stored=False))
    monkeypatch.setattr(skew, "compare", lambda *_: Skew(0, 10, []))
    with pytest.raises(ContractError, match="none of 10 served requests has a record"):
        skew.skew(10)
    assert not (Path(settings().reports_url) / "skew.json").exists()
