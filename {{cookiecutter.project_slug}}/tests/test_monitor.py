"""The monitor on the bundle's own predictions of later real months: quiet in spring, alarmed in summer."""

import json
import re
import shutil
import subprocess
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from ml.contract import bundle as bundles
from ml.contract.bundle import Bundle
from ml.contract.profile import Profile
from ml.contract.reference import Bins
from ml.errors import ContractError
from ml.features.rows import days_of, records_of
from ml.features.table import NAMES, columns_of_frame, inputs
from ml.monitoring import drift, monitor
from ml.monitoring.look import judge
from ml.monitoring.observations import Observations
from ml.monitoring.report import render
from ml.monitoring.signal import signal, windows

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def champion(bundle: tuple[str, str]) -> Bundle:
    store, digest = bundle
    return bundles.load(store, digest)


def served(champion: Bundle, lake: str, since: str, until: str) -> Observations:
    """What the service would have logged for the flights of some days, outcomes included."""
    records = records_of(lake, pd.date_range(since, until).date.tolist())
    columns = columns_of_frame(records)
    given, named = inputs(columns), days_of(columns)
    frame = pd.DataFrame(np.hstack([given.numbers.astype(object), given.categories]), columns=NAMES)
    frame[list(NAMES[: given.numbers.shape[1]])] = given.numbers
    outcomes = records.disrupted.to_numpy(float)
    return Observations(frame, champion.scorer.score(given), outcomes, named, np.full(len(frame), 3.0))


@pytest.mark.parametrize(
    ("since", "until", "alarms"), [("2013-05-01", "2013-05-28", False), ("2013-06-24", "2013-07-21", True)]
)
def test_four_weeks_of_may_are_quiet_and_four_weeks_from_24_june_alarm(
    champion: Bundle, lake: str, since: str, until: str, alarms: bool
) -> None:
    seen = served(champion, lake, since, until)
    assert signal(champion.reference, seen.outcomes, seen.scores, days=28).alarms is alarms


def test_the_threshold_comes_from_january_to_march_alone(champion: Bundle) -> None:
    assert champion.reference.days[0] == "2013-01-01"
    assert champion.reference.days[-1] == "2013-03-31"


@pytest.mark.parametrize("days", [7, 14, 28, 60])
def test_the_threshold_alarms_on_at_most_one_in_twenty_windows_like_training(champion: Bundle, days: int) -> None:
    judged = signal(champion.reference, np.array([0.0]), np.array([0.0]), days)
    drawn = windows(champion.reference, days, draws=1000, seed=99)
    assert ((drawn < judged.low) | (drawn > judged.high)).mean() <= 0.05
    assert judged.false_alarms <= 0.05


def test_a_threshold_for_single_rows_would_alarm_all_the_time(champion: Bundle) -> None:
    """Why days are resampled: limits from independent rows are several times too narrow."""
    judged = signal(champion.reference, np.array([0.0]), np.array([0.0]), days=28)
    rate, rows = 0.11, sum(champion.reference.rows) / len(champion.reference.rows) * 28
    assert judged.high > 4 * 1.96 * np.sqrt(rate * (1 - rate) / rows)


def test_profiles_of_days_merge_to_the_counts_of_the_whole(champion: Bundle, lake: str) -> None:
    seen = served(champion, lake, "2013-04-01", "2013-04-07")
    merged = drift.profile(seen)
    for variable in champion.reference.variables:
        values = seen.scores if variable.name == "score" else seen.features[variable.name].to_numpy()
        exact = variable.bins.count(values)
        counted = merged.counts(variable.name, variable.bins)
        assert counted.sum() == exact.sum() == len(seen.scores), variable.name
        assert np.abs(counted - exact).max() <= 0.02 * len(seen.scores), variable.name


def test_a_profile_survives_being_written(champion: Bundle, lake: str) -> None:
    profiled = drift.profile(served(champion, lake, "2013-04-01", "2013-04-02"))
    again = Profile.load(profiled.dump())
    variable = next(each for each in champion.reference.variables if each.name == "carrier")
    assert (again.counts("carrier", variable.bins) == profiled.counts("carrier", variable.bins)).all()


def test_a_planted_input_drift_is_named_and_calendar_features_are_exempt(champion: Bundle, lake: str) -> None:
    seen = served(champion, lake, "2013-03-01", "2013-03-28")
    seen.features["distance"] = seen.features["distance"] * 2
    seen.features["departure_minute"] = np.float32(10)
    moved = {each.name: each for each in drift.drifts(champion.reference, drift.profile(seen), days=28)}
    assert moved["distance"].drifted
    assert not moved["carrier"].drifted
    assert moved["departure_minute"].distance > 0.3
    assert not moved["departure_minute"].drifted


def test_bins_put_every_value_in_one_cell() -> None:
    bins = Bins.of(np.array([1.0, 2.0, 3.0, 4.0, np.nan]))
    assert bins.count(np.array([-5.0, 1.0, 2.5, 99.0, np.nan])).sum() == 5
    texts = Bins.of(np.array(["a", "a", "b", ""], dtype=object))
    assert texts.count(np.array(["a", "c", "", ""], dtype=object)).tolist() == [1, 0, 1, 2]


def test_only_matured_days_make_the_window() -> None:
    days = np.array(["2013-04-01", "2013-04-02", "2013-04-03", "2013-04-04"])
    seen = Observations(pd.DataFrame({"x": range(4)}), np.full(4, 0.1), np.array([0.0, 1.0, 1.0, np.nan]), days)
    assert seen.window(None, length=2).days.tolist() == ["2013-04-02", "2013-04-03"]
    assert seen.window(date(2013, 4, 2), length=2).days.tolist() == ["2013-04-01", "2013-04-02"]


@pytest.fixture(scope="module")
def page(champion: Bundle, lake: str) -> str:
    """The report of the summer weeks."""
    seen = served(champion, lake, "2013-06-24", "2013-07-21")
    found = judge(champion, drift.profile(seen), seen, seen)
    verdict = monitor.verdict(found)
    assert verdict["status"] == "alarm"
    assert json.loads(json.dumps(verdict)) == verdict
    return render(found, verdict)


def test_too_few_matured_days_give_no_verdict(champion: Bundle, lake: str) -> None:
    seen = served(champion, lake, "2013-04-01", "2013-04-06")
    with pytest.raises(ContractError, match="6 days have outcomes, a verdict needs 7"):
        judge(champion, drift.profile(seen), seen, seen)


def test_the_report_is_one_page_that_loads_nothing(page: str) -> None:
    assert page.count("<svg") == 5
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!#)([^"']+)|url\((?!#)([^)]+)\)|@import""", page) == []
    assert "<script" not in page


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser; get it with: apt-get install -y chromium")
def test_a_browser_without_a_network_shows_the_report_whole(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'browser'}"]
    target = tmp_path / "shot.png"
    flags += ["--window-size=1000,2600", f"--screenshot={target}", "--enable-logging=stderr"]
    address = (tmp_path / "page.html").as_uri()
    ran = subprocess.run([str(BROWSER), *flags, address], capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in ran.stderr
    shot = image.imread(target)
    assert shot.shape[:2] == (2600, 1000)
    painted = (shot[:, :, :3] < 0.98).any(axis=(1, 2))  # rows of the picture with anything on them
    assert painted[:2000].mean() > 0.6, "the report is empty where its plots belong"
