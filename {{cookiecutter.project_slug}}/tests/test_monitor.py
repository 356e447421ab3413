"""The monitor on the bundle's own predictions of later real months: quiet in spring, alarmed in summer."""

import html
import json
import re
import shutil
import subprocess
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from ml.contract import bundle as bundles
from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.contract.profile import Profile
from ml.contract.reference import Bins
from ml.errors import ContractError
from ml.features.rows import days_of, records_of
from ml.features.table import NAMES, SCORE, columns_of_frame, inputs
from ml.monitoring import drift, gauges, monitor
from ml.monitoring.arms import Arm
from ml.monitoring.daily import Daily
from ml.monitoring.look import Expected, Look, importance, judge
from ml.monitoring.observations import Observations
from ml.monitoring.report import render
from ml.monitoring.seen import Seen
from ml.monitoring.signal import Name, Past, signals
from ml.statistics.metrics import estimates

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def champion(bundle: tuple[str, str]) -> Bundle:
    store, digest = bundle
    return bundles.load(store, digest)


class Served(NamedTuple):
    """What the service would have logged for the flights of some days, outcomes included."""

    features: pd.DataFrame
    seen: Observations

    @property
    def profiles(self) -> dict[str, Profile]:
        whole = self.features.assign(**{SCORE: self.seen.scores})
        return {str(day): Profile.of(part) for day, part in whole.groupby(self.seen.days)}


def served(champion: Bundle, lake: str, since: str, until: str) -> Served:
    records = records_of(lake, pd.date_range(since, until).date.tolist())
    columns = columns_of_frame(records)
    given, named = inputs(columns), days_of(columns)
    frame = pd.DataFrame(np.hstack([given.numbers.astype(object), given.categories]), columns=NAMES)
    frame[list(NAMES[: given.numbers.shape[1]])] = given.numbers
    outcomes = records.disrupted.to_numpy(float)
    return Served(frame, Observations(champion.scorer.score(given), outcomes, named, np.full(len(frame), 3.0)))


@pytest.mark.parametrize(
    ("since", "until", "alarming"), [("2013-05-01", "2013-05-28", False), ("2013-06-24", "2013-07-21", True)]
)
def test_four_weeks_of_may_are_quiet_and_four_weeks_from_24_june_alarm(
    champion: Bundle, lake: str, since: str, until: str, alarming: bool
) -> None:
    _, seen = served(champion, lake, since, until)
    found = {each.name: each.alarms for each in signals(champion.reference, Daily.of(seen))}
    assert found["rate"] is found["loss"] is alarming


def test_the_threshold_comes_from_january_to_march_alone(champion: Bundle) -> None:
    assert champion.reference.days[0] == "2013-01-01"
    assert champion.reference.days[-1] == "2013-03-31"


@pytest.mark.parametrize("days", [7, 14, 28, 60])
@pytest.mark.parametrize("name", get_args(Name))
def test_limits_leave_out_few_windows_like_training(champion: Bundle, name: Name, days: int) -> None:
    past = Past.of(champion.reference, name)
    low, high = past.limits(days, 0.005)
    drawn = past.windows(days, draws=1000, seed=99)
    assert ((drawn < low) | (drawn > high)).mean() <= 0.02


def test_a_limit_for_single_rows_would_alarm_all_the_time(champion: Bundle) -> None:
    """Why days are what counts: limits from independent rows are several times too narrow."""
    _, high = Past.of(champion.reference, "rate").limits(28, 0.025)
    rate, rows = 0.11, sum(champion.reference.rows) / len(champion.reference.rows) * 28
    assert high > 3 * 1.96 * np.sqrt(rate * (1 - rate) / rows)


def test_profiles_of_days_merge_to_the_counts_of_the_whole(champion: Bundle, lake: str) -> None:
    seen = served(champion, lake, "2013-04-01", "2013-04-07")
    merged, features = drift.merged(seen.profiles), seen.features
    for variable in champion.reference.variables:
        values = seen.seen.scores if variable.name == SCORE else features[variable.name].to_numpy()
        exact = variable.bins.count(values)
        counted = merged.counts(variable.name, variable.bins)
        assert counted.sum() == exact.sum() == len(features), variable.name
        assert np.abs(counted - exact).max() <= 0.02 * len(features), variable.name


def test_a_profile_survives_being_written(champion: Bundle, lake: str) -> None:
    profiled = drift.merged(served(champion, lake, "2013-04-01", "2013-04-02").profiles)
    again = Profile.load(profiled.dump())
    variable = next(each for each in champion.reference.variables if each.name == "carrier")
    assert (again.counts("carrier", variable.bins) == profiled.counts("carrier", variable.bins)).all()


def test_a_planted_input_drift_is_named_and_calendar_features_are_exempt(champion: Bundle, lake: str) -> None:
    seen = served(champion, lake, "2013-03-01", "2013-03-28")
    seen.features["distance"] = seen.features["distance"] * 2
    seen.features["departure_minute"] = np.float32(10)
    found = {each.name: each for each in drift.drifts(champion.reference, seen.profiles, importance(champion))}
    assert found["distance"].answer == "drift"
    assert found["distance"].served[-2] > 0.01, "more than ever in training"
    assert found["carrier"].answer == "none"
    assert found["departure_minute"].distance > 0.3
    assert found["departure_minute"].answer == "exempt"


def test_what_days_swing_too_much_for_is_inconclusive_and_not_quiet(champion: Bundle, lake: str) -> None:
    seen = served(champion, lake, "2013-04-01", "2013-04-03")
    found = {each.name: each for each in drift.drifts(champion.reference, seen.profiles, {})}
    assert found["wind_speed"].answer == "inconclusive"
    assert found["wind_speed"].power < framing().alarm.power
    assert found["carrier"].answer == "none"
    assert {each.weight for each in found.values() if each.answer != "exempt"} == {1.0}


def test_bins_put_every_value_in_one_cell() -> None:
    bins = Bins.of(np.array([1.0, 2.0, 3.0, 4.0, np.nan]))
    counted = bins.count(np.array([-5.0, 1.0, 2.5, 99.0, np.nan]))
    assert counted.sum() == 5
    assert counted[-2:].tolist() == [2, 1], "two that training never had, and one missing"
    texts = Bins.of(np.array(["a", "a", "b", ""], dtype=object))
    assert texts.count(np.array(["a", "c", "", ""], dtype=object)).tolist() == [1, 0, 1, 2]
    rare = Bins.of(np.array(["a"] * 98 + ["b", "b"] + ["c"], dtype=object))
    assert rare.named == ["a", "b"], "less than one in a hundred drowns in chance"
    assert len(Bins.of(np.array(list("abcdefghijklmnopqrstuvwxyz"), dtype=object)).named) == 20


def test_only_matured_days_make_the_window() -> None:
    days = np.array(["2013-04-01", "2013-04-02", "2013-04-03", "2013-04-04"])
    seen = Observations(np.full(4, 0.1), np.array([0.0, 1.0, 1.0, np.nan]), days, np.ones(4))
    by_day = Daily.of(seen)
    assert by_day.window(None, length=2).days.tolist() == ["2013-04-02", "2013-04-03"]
    assert by_day.window(date(2013, 4, 2), length=2).days.tolist() == ["2013-04-01", "2013-04-02"]
    assert by_day.newest(None, length=2).days.tolist() == ["2013-04-03", "2013-04-04"], "inputs need no outcome"


def test_what_scores_let_expect_needs_no_outcome(champion: Bundle) -> None:
    days = Daily.of(
        Observations(np.array([0.5, 0.5, 0.1]), np.array([1.0, np.nan, np.nan]), np.full(3, "2013-04-01"), np.ones(3))
    )
    assert (days.served, days.matured, days.observed, days.predicted) == (3, 1, 1, 0.5)
    assert days.estimated == pytest.approx(np.log(2)), "of the row that has an outcome"
    entropy = -(0.1 * np.log(0.1) + 0.9 * np.log(0.9))
    assert Expected.of(champion.reference, days).loss == pytest.approx((2 * np.log(2) + entropy) / 3)


def looked(champion: Bundle, of: Served) -> Look:
    seen = of.seen
    performance = estimates(seen.outcomes, seen.scores, seen.days, framing().cost.costs)
    arms = [Arm("champion", champion.digest, 9, 8, performance), Arm("canary", "f" * 64, 3, 0, {})]
    told = Seen.of(seen)._replace(biased="nobody is held out")
    profiles = {day: of.profiles[day] for day in told.newest.days}
    return judge(champion, drift.merged(of.profiles), told, profiles, arms)


@pytest.fixture(scope="module")
def page(champion: Bundle, lake: str) -> str:
    """The report of the summer weeks."""
    found = looked(champion, served(champion, lake, "2013-06-24", "2013-07-21"))
    verdict = monitor.verdict(found)
    assert verdict["status"] == "alarm"
    assert json.loads(json.dumps(verdict)) == verdict
    assert list(gauges.REPORTS[gauges.VERDICT](verdict)), "what Prometheus is told of it"
    return render(found, verdict)


def test_too_few_matured_days_give_no_verdict(champion: Bundle, lake: str) -> None:
    with pytest.raises(ContractError, match=r"6 days that \w{12} served have outcomes, a verdict needs 7"):
        looked(champion, served(champion, lake, "2013-04-01", "2013-04-06"))


def test_the_report_is_one_page_that_loads_nothing(page: str) -> None:
    assert page.count("<svg") == 14
    assert "side by side" in page
    assert "none yet" in page
    assert "does not hold for all: nobody is held out" in page
    assert re.search(r'<li class="moved">realised minus estimated loss: \+0\.\d{3},\s+outside its limits', page)
    assert re.search(r"\d+ of 28 are inconclusive: so few days cannot tell", page)
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!#)([^"']+)|url\((?!#)([^)]+)\)|@import""", page) == []
    assert "<script" not in page
    judged = re.findall(r"<td>(?:drift|none|inconclusive)</td><td>([\d.]+)</td>\s*<td>([\d.]+)</td>", page)
    ranks = [float(distance) / float(threshold) for distance, threshold in judged]
    assert len(ranks) > 10
    assert all(one >= other - 0.02 for one, other in pairwise(ranks)), "the furthest first"


def browsed(page: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Show a page in a browser that has no network."""
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    quiet += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={page.parent / 'browser'}"]
    command = [str(BROWSER), *quiet, *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser; get it with: apt-get install -y chromium")
def test_a_browser_without_a_network_shows_the_report_whole(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page)
    target = tmp_path / "shot.png"
    flags = ["--window-size=1000,2600", f"--screenshot={target}", "--enable-logging=stderr"]
    assert "CONSOLE" not in browsed(tmp_path / "page.html", *flags).stderr
    shot = image.imread(target)
    assert shot.shape[:2] == (2600, 1000)
    painted = (shot[:, :, :3] < 0.98).any(axis=(1, 2))  # rows of the picture with anything on them
    assert painted[:2000].mean() > 0.6, "the report is empty where its plots belong"


MEASURE = """
const light = colour => {
  const linear = part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const [red, green, blue] = colour.match(/[\\d.]+/g).map(part => linear(part / 255));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const behind = element => {
  const colour = element ? getComputedStyle(element).backgroundColor : "rgb(255, 255, 255)";
  return colour == "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : colour;
};
const contrast = element => {
  const [one, other] = [getComputedStyle(element).color, behind(element)].map(light);
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
};
onload = () => {
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  const written = [...page.body.querySelectorAll("*:not(svg, svg *)")].filter(element =>
    [...element.childNodes].some(node => node.nodeType == Node.TEXT_NODE && node.data.trim()));
  const told = {
    beyond: root.scrollWidth - root.clientWidth, background: light(behind(page.body)), texts: written.length,
    contrast: Math.min(...written.map(contrast)),
  };
  document.body.textContent = JSON.stringify(told);
};
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser; get it with: apt-get install -y chromium")
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_phone_shows_the_report_without_scrolling_sideways_and_each_text_can_be_read(
    page: str, tmp_path: Path, scheme: str
) -> None:
    frame = f'<iframe style="width: 390px; height: 800px" srcdoc="{html.escape(page)}"></iframe>'
    (tmp_path / "phone.html").write_text(f"<!doctype html>{frame}<script>{MEASURE}</script>")
    prefers = f"--blink-settings=preferredColorScheme={['dark', 'light'].index(scheme)}"
    shown = browsed(tmp_path / "phone.html", prefers, "--dump-dom", "--virtual-time-budget=5000").stdout
    told = json.loads(shown.partition("<body>")[2].partition("</body>")[0])
    assert told["beyond"] == 0
    assert told["texts"] > 100
    assert told["contrast"] >= 4.5, "as WCAG asks of text"
    assert told["background"] < 0.05 if scheme == "dark" else told["background"] > 0.9
