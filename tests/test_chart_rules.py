"""Alerts: each fires on what it is for and on nothing else, names who it is about, and leads to what is to be done."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from alert_cases import BUNDLE, CASES, Case, served, streamed, told, written
from chart_rendering import one
from conftest import ROOT
from test_chart_metrics import boards, exported

RUNBOOK = ROOT / "docs" / "runbook.md"
PAGES = {"PredictionsFail", "ModelFails", "OnlineStoreDown", "EventLogDown", "EventsLost"}
PAGES |= {"ContractBroken", "FeatureMissing", "ModelPerformance", "RetrainingStopped"}
WHO = {"namespace": "ml", "service": "project", "environment": "production", "model": BUNDLE}


def spec(rendered: dict) -> dict:
    return one(rendered["serving/metrics"], "PrometheusRule")["spec"]


def alerts(rendered: dict) -> dict[str, dict]:
    """Return the alerts by their names."""
    rules = [rule for group in spec(rendered)["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


def expected(name: str, case: Case) -> list[dict]:
    """Return the alerts that fire in a case, as promtool compares them."""
    if not case.summary:
        return []
    labels = {**WHO, "severity": "critical" if name in PAGES else "warning", **case.labels}
    page = f"docs/runbook.md#{name.lower()}"
    return [{"exp_labels": labels, "exp_annotations": {"summary": case.summary, "runbook_url": page}}]


@pytest.fixture(scope="module")
def promtool() -> str:
    """The path of promtool."""
    found = shutil.which("promtool")
    if not found:
        pytest.skip("no promtool: `apt-get install prometheus`")
    return found


@pytest.fixture
def tried(promtool, rendered, tmp_path):
    """Let promtool try the rules on series: what is expected of alerts, or of expressions, holds."""

    def tried(given: dict[str, str], every: str, **tests: list[dict]) -> None:
        named = [{"series": series, "values": values} for series, values in given.items()]
        told = {"rule_files": ["rules.yaml"], "evaluation_interval": every}
        told["tests"] = [{"interval": every, "input_series": named, **tests}]
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec(rendered)))
        (tmp_path / "test.yaml").write_text(json.dumps(told))
        command = [promtool, "test", "rules", "test.yaml"]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{given}: {ran.stdout}{ran.stderr}"

    return tried


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_on_what_it_is_for_and_on_nothing_else(tried, name):
    for case in CASES[name]:
        alert = {"alertname": name, "eval_time": case.at, "exp_alerts": expected(name, case)}
        tried(case.series, case.every, alert_rule_test=[alert])


@pytest.mark.slow
def test_shares_and_ratios_are_recorded(tried):
    given = {
        served("ml_broken_records_total"): "0+1x90",
        served("ml_predictions_total", bundle="a"): "0+6x90",
        served("ml_predictions_total", bundle="b"): "0+3x90",
        served("ml_missing_values_total", feature="seats"): "0+3x90",
        served("ml_unknown_categories_total", feature="carrier"): "0+6x90",
        told("ml_monitor_drift_distance", variable="hour"): "0.3x90",
        told("ml_monitor_drift_threshold", variable="hour"): "0.2x90",
    }
    expected = {
        "round(ml:broken_records:ratio_rate15m, 0.001)": (0.1, {}),
        "round(ml:missing_values:ratio_rate1h * 3, 0.001)": (1, {"feature": "seats"}),
        "round(ml:unknown_categories:ratio_rate1h * 3, 0.001)": (2, {"feature": "carrier"}),
        "round(ml:drift_score:ratio, 0.001)": (1.5, {"variable": "hour"}),
    }
    who = {"namespace": "ml", "service": "project"}
    samples = {
        name: [{"labels": written("", who | labels), "value": value}] for name, (value, labels) in expected.items()
    }
    asked = [{"expr": name, "eval_time": "80m", "exp_samples": found} for name, found in samples.items()]
    tried(given, "1m", promql_expr_test=asked)


def exported_series() -> dict[str, str]:
    """Return a series of each name that the code exports, as if each were told by its pod."""
    found = {}
    for name, labels in exported().items():
        of = (
            streamed if name.startswith("ml_stream") else told if re.match("ml_(monitor|retraining)_", name) else served
        )
        values = {
            label: {"metric": "log_loss", "bound": "value", "decision": "true"}.get(label, "a") for label in labels
        }
        growing = name.endswith(("_total", "_sum", "_count", "_bucket"))
        for limit in ({"le": "0.1"}, {"le": "+Inf"}) if name.endswith("_bucket") else ({},):
            found[of(name, **values, **limit)] = "1+1x90" if growing else "1x90"
    return found


@pytest.mark.slow
def test_every_panel_shows_something_of_what_is_exported(tried, rendered):
    asked = [target["expr"] for board in boards(rendered) for panel in board["panels"] for target in panel["targets"]]
    chosen = {"$namespace": "ml", "$service": "project", "$metric": "log_loss"}
    shown = [re.sub(r"\$\w+", lambda variable: chosen[variable[0]], expression) for expression in asked]
    there = [{"labels": "{}", "value": 1}]
    tests = [{"expr": f"count({each}) > bool 0", "eval_time": "80m", "exp_samples": there} for each in shown]
    tried(exported_series(), "1m", promql_expr_test=tests)


@pytest.mark.slow
def test_prometheus_takes_the_rules(promtool, rendered, tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec(rendered)))
    command = [promtool, "check", "rules", "--lint-fatal", tmp_path / "rules.yaml"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_is_tried_on_what_it_is_for_and_on_what_it_is_not_for(rendered):
    assert set(CASES) == set(alerts(rendered))
    for name, cases in CASES.items():
        assert {bool(case.summary) for case in cases} == {True, False}, name


def test_each_alert_says_how_bad_it_is_what_it_means_and_who_it_is_about(rendered):
    for name, alert in alerts(rendered).items():
        severity = "critical" if name in PAGES else "warning"
        assert alert["labels"] == {"severity": severity, **WHO}, name
        assert alert["annotations"]["summary"].endswith("."), name


def test_each_alert_leads_to_its_section_of_the_runbook(rendered):
    sections = re.findall("^## (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    anchors = {section.lower().replace(" ", "-") for section in sections}
    for name, alert in alerts(rendered).items():
        page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert (ROOT / page).samefile(RUNBOOK), name
        assert anchor in anchors, name
    assert {section for section in sections if re.fullmatch("([A-Z][a-z]+){2,}", section)} == set(alerts(rendered))


def test_each_section_of_the_runbook_says_what_it_means_where_to_look_and_what_to_do(rendered):
    for section in re.split("^## ", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]:
        if section.split()[0] in alerts(rendered):
            assert [*re.findall(r"^\*\*(\w+)\*\*", section, re.MULTILINE)] == ["Means", "Look", "Do"], section


def test_the_runbook_names_panels_and_alerts_that_there_are(rendered):
    panels = [panel["title"].replace("$metric", "log_loss") for board in boards(rendered) for panel in board["panels"]]
    panels += [board["title"] for board in boards(rendered)]
    named = [" ".join(name.split()) for name in re.findall(r"(?<!\*)\*([^*\n][^*]+)\*(?!\*)", RUNBOOK.read_text())]
    assert len(named) > 20
    assert [name for name in named if not any(title.startswith(name) for title in panels)] == ["Page", "ticket"]
    inhibited = "|".join(re.findall('alertname=~?"([^"]+)"', RUNBOOK.read_text()))
    assert set(inhibited.split("|")) <= set(alerts(rendered))


def test_the_model_has_alerts_only_where_there_is_a_monitor(rendered):
    groups = one(rendered["serving/concurrency"], "PrometheusRule")["spec"]["groups"]
    assert [group["name"] for group in groups] == ["project"]
    assert [group["name"] for group in spec(rendered)["groups"]] == ["project", "project-model"]
