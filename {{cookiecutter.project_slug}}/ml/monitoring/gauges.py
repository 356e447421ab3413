"""What each report of the monitor says, as gauges: a series a signal or a variable; none grows with traffic."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily

VERDICT = "verdict.json"  # as ml/monitoring/monitor.py writes it, which would bring the libraries of training
BUNDLE = 12  # letters of a digest, by which the service's own metrics name a bundle
Gauges = Iterator[GaugeMetricFamily]
Values = Mapping[Any, float | None]  # by tuples of labels


def gauge(name: str, says: str, labels: list[str], values: Values) -> GaugeMetricFamily:
    """Return a gauge with a value for each tuple of labels; what is not known has no series."""
    found = GaugeMetricFamily(name, says, labels=labels)
    for told, value in values.items():
        if value is not None:
            found.add_metric(told, float(value))
    return found


def _of_verdict(told: dict[str, Any]) -> Gauges:
    when, until = datetime.fromisoformat(told["judged_at"]), datetime.fromisoformat(told["until"]).replace(tzinfo=UTC)
    yield gauge("ml_monitor_info", "1 for the bundle judged.", ["bundle"], {(told["bundle"][:BUNDLE],): 1})
    yield gauge("ml_monitor_judged_timestamp_seconds", "When it was judged.", [], {(): when.timestamp()})
    yield gauge("ml_monitor_until_timestamp_seconds", "Last day judged, at 0 h UTC.", [], {(): until.timestamp()})
    yield gauge("ml_monitor_alarm", "Whether the verdict is an alarm.", [], {(): told["status"] == "alarm"})
    yield gauge("ml_monitor_coverage_ratio", "Share of outcomes due that came.", [], {(): told.get("coverage")})
    yield from _of_signals(told.get("signals", {}))
    yield from _of_drift(told.get("drift", {}))
    estimated, delays = told.get("estimated") or {}, told.get("delay_hours") or {}
    yield gauge("ml_monitor_estimated_loss", "Loss that scores alone predict.", [], {(): estimated.get("loss")})
    waited = {(share,): None if hours is None else 3600 * hours for share, hours in delays.items()}
    yield gauge("ml_monitor_label_delay_seconds", "Time until that share of outcomes came.", ["share"], waited)
    metrics = {
        (metric, bound): value
        for metric, bounds in told.get("performance", {}).items()
        for bound, value in bounds.items()
        if bound in ("value", "low", "high")
    }
    yield gauge("ml_monitor_performance", "Metrics, with intervals.", ["metric", "bound"], metrics)


def _of_signals(signals: dict[str, Any]) -> Gauges:
    values = {(name,): each["value"] for name, each in signals.items()}
    limits = {(name, side): each[side] for name, each in signals.items() for side in ("low", "high")}
    yield gauge("ml_monitor_signal", "Observed minus predicted.", ["signal"], values)
    yield gauge("ml_monitor_signal_limit", "Limits beyond which it alarms.", ["signal", "side"], limits)


def _of_drift(drift: dict[str, Any]) -> Gauges:
    """Yield what is known of each variable; those of the calendar move by definition, and are left out."""
    judged = {(name,): each for name, each in drift.items() if each["answer"] != "exempt"}

    def of(value: Callable[[dict[str, Any]], float]) -> Values:
        return {name: value(each) for name, each in judged.items()}

    drifted, unsure = of(lambda each: each["answer"] == "drift"), of(lambda each: each["answer"] == "inconclusive")
    distances, thresholds = of(lambda each: each["distance"]), of(lambda each: each["threshold"])
    yield gauge("ml_monitor_drift_distance", "Distance from training.", ["variable"], distances)
    yield gauge("ml_monitor_drift_threshold", "Distance from which it drifts.", ["variable"], thresholds)
    yield gauge("ml_monitor_drifted", "Whether it drifted.", ["variable"], drifted)
    yield gauge("ml_monitor_inconclusive", "Whether the window is too small to say.", ["variable"], unsure)


def _of_skew(told: dict[str, Any]) -> Gauges:
    features, compared = len(told["differing"]), told["compared"]
    yield gauge("ml_monitor_skewed_features", "Features served otherwise than trained.", [], {(): features})
    yield gauge("ml_monitor_skew_compared_requests", "Requests that were compared.", [], {(): compared})


def _of_retraining(told: dict[str, Any]) -> Gauges:
    yield gauge("ml_retraining_stopped", "Whether it waits for a person.", [], {(): told["decision"] == "stop"})
    yield gauge("ml_retraining_rejections", "Rejections in a row.", [], {(): told["rejections"]})


REPORTS: dict[str, Callable[[dict[str, Any]], Gauges]] = {
    VERDICT: _of_verdict,
    "skew.json": _of_skew,
    "retraining.json": _of_retraining,
}
