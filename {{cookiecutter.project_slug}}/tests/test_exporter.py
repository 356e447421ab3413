"""What Prometheus is told of the monitor's reports: all of the newest verdict, and no crash where there is none."""

import json
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ml.errors import ContractError
from ml.monitoring import gauges, listen, monitor
from ml.monitoring.exporter import Reports

BUNDLE = "ab" * 32
VERDICT: dict[str, Any] = {
    "status": "alarm",
    "bundle": BUNDLE,
    "since": "2013-05-01",
    "until": "2013-05-28",
    "judged_at": "2013-05-29T00:00:00+00:00",
    "rows": 1000,
    "matured": 900,
    "coverage": 0.98,
    "delay_hours": {"half": 2.0, "most": 20.0},
    "signals": {
        "rate": {"value": 0.05, "low": -0.02, "high": 0.03, "false_alarms": 0.01, "alarms": True},
        "loss": {"value": 0.01, "low": -0.04, "high": 0.06, "false_alarms": 0.01, "alarms": False},
    },
    "estimated": {"loss": 0.33, "high": 0.36, "worse": False},
    "drift": {
        "distance": {"distance": 0.2, "threshold": 0.1, "power": 0.9, "answer": "drift", "psi": 0.3, "weight": 0.4},
        "hour": {"distance": 0.1, "threshold": 0.3, "power": 0.2, "answer": "inconclusive", "psi": 0.1, "weight": 0.1},
        "month": {"distance": 1.0, "threshold": 0.3, "power": 0.9, "answer": "exempt", "psi": 9.0, "weight": 0.0},
    },
    "drifted": ["distance"],
    "performance": {"log_loss": {"value": 0.3, "low": 0.2, "high": 0.4}},
    "report": "monitor.html",
}
SKEW = {"compared": 500, "unmatched": 3, "differing": [{"feature": "distance", "requests": 7}]}
STOPPED = {"decision": "stop", "reasons": ["rejected"], "rejections": 3, "at": "2013-05-29T00:00:00+00:00"}


def write(folder: Path, **reports: object) -> None:
    for name, report in reports.items():
        (folder / f"{name}.json").write_text(json.dumps(report))


def told(reports: Reports) -> dict[str, float]:
    """Return each series with its value."""
    registry = CollectorRegistry()
    registry.register(reports)
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {f"{each.name}{''.join(f' {value}' for value in each.labels.values())}": each.value for each in samples}


def test_all_that_a_verdict_says_is_told(tmp_path: Path) -> None:
    write(tmp_path, verdict=VERDICT, skew=SKEW, retraining=STOPPED)
    assert told(Reports(str(tmp_path))) == {
        "ml_monitor_up": 1,
        f"ml_monitor_info {BUNDLE[:12]}": 1,
        "ml_monitor_judged_timestamp_seconds": 1369785600,
        "ml_monitor_until_timestamp_seconds": 1369699200,
        "ml_monitor_alarm": 1,
        "ml_monitor_coverage_ratio": 0.98,
        "ml_monitor_label_delay_seconds half": 7200,
        "ml_monitor_label_delay_seconds most": 72000,
        "ml_monitor_signal rate": 0.05,
        "ml_monitor_signal loss": 0.01,
        "ml_monitor_signal_limit rate low": -0.02,
        "ml_monitor_signal_limit rate high": 0.03,
        "ml_monitor_signal_limit loss low": -0.04,
        "ml_monitor_signal_limit loss high": 0.06,
        "ml_monitor_estimated_loss": 0.33,
        "ml_monitor_drift_distance distance": 0.2,
        "ml_monitor_drift_distance hour": 0.1,
        "ml_monitor_drift_threshold distance": 0.1,
        "ml_monitor_drift_threshold hour": 0.3,
        "ml_monitor_drifted distance": 1,
        "ml_monitor_drifted hour": 0,
        "ml_monitor_inconclusive distance": 0,
        "ml_monitor_inconclusive hour": 1,
        "ml_monitor_performance log_loss value": 0.3,
        "ml_monitor_performance log_loss low": 0.2,
        "ml_monitor_performance log_loss high": 0.4,
        "ml_monitor_skewed_features": 1,
        "ml_monitor_skew_compared_requests": 500,
        "ml_retraining_stopped": 1,
        "ml_retraining_rejections": 3,
    }


def test_without_a_verdict_it_says_only_that(tmp_path: Path) -> None:
    assert told(Reports(str(tmp_path / "none"))) == {"ml_monitor_up": 0}


def test_what_the_monitor_did_not_know_has_no_series(tmp_path: Path) -> None:
    write(tmp_path, verdict=VERDICT | {"coverage": None, "estimated": None, "delay_hours": {"half": None}})
    found = told(Reports(str(tmp_path)))
    assert found["ml_monitor_alarm"] == found["ml_monitor_up"] == 1
    assert not [name for name in found if "coverage" in name or "estimated" in name or "delay" in name]


@pytest.mark.parametrize(
    "torn",
    [
        "{",
        "[]",
        "null",
        '{"status": "quiet"}',
        json.dumps(VERDICT | {"drift": 3}),
        json.dumps(VERDICT | {"signals": ["rate"]}),
    ],
)
def test_a_verdict_that_cannot_be_read_is_told_as_it_last_was(
    tmp_path: Path, torn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, verdict=VERDICT, skew=SKEW)
    reports = Reports(str(tmp_path), fresh=0)
    whole = told(reports)
    (tmp_path / "verdict.json").write_text(torn)
    assert told(reports) == whole | {"ml_monitor_up": 0}
    assert "verdict.json cannot be read, and is told as it last was" in capsys.readouterr().out
    write(tmp_path, verdict=VERDICT)
    assert told(reports) == whole


def test_a_report_is_read_once_in_a_while_and_forgotten_once_it_is_gone(tmp_path: Path) -> None:
    write(tmp_path, verdict=VERDICT, skew=SKEW)
    slow, quick = Reports(str(tmp_path), fresh=3600), Reports(str(tmp_path), fresh=0)
    before = told(slow)
    assert told(quick) == before
    write(tmp_path, verdict=VERDICT | {"status": "quiet"})
    (tmp_path / "skew.json").unlink()
    assert told(slow) == before
    assert told(quick)["ml_monitor_alarm"] == 0
    assert set(before) - set(told(quick)) == {"ml_monitor_skewed_features", "ml_monitor_skew_compared_requests"}


def test_it_reads_the_file_that_the_monitor_writes() -> None:
    assert monitor.VERDICT == gauges.VERDICT


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with listen.server("127.0.0.1", 0, str(tmp_path)) as answering:
        thread = threading.Thread(target=answering.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{answering.server_port}"
        answering.shutdown()
        thread.join()


def test_prometheus_and_kubernetes_are_answered_and_nobody_else(address: str, tmp_path: Path) -> None:
    write(tmp_path, verdict=VERDICT)
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
        assert b"\nml_monitor_alarm 1.0\n" in answer.read()
    with urllib.request.urlopen(f"{address}/livez", timeout=10) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{address}/", timeout=10)


@pytest.mark.slow
def test_prometheus_finds_nothing_to_object_to(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("no promtool: `apt-get install prometheus`")
    write(tmp_path, verdict=VERDICT, skew=SKEW, retraining=STOPPED)
    registry = CollectorRegistry()
    registry.register(Reports(str(tmp_path)))
    told = subprocess.run([promtool, "check", "metrics"], input=generate_latest(registry), capture_output=True)
    assert (told.returncode, told.stdout + told.stderr) == (0, b"")


def test_a_port_that_is_taken_is_named(address: str) -> None:
    port = int(address.rpartition(":")[2])
    with pytest.raises(ContractError, match=rf"127\.0\.0\.1:{port} cannot be listened on: .*Choose another"):
        listen.listen("127.0.0.1", port, "")
