"""What each alert of the serving chart fires on, and what it does not, in Prometheus' own notation of series."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

BUNDLE = "3f1c0a9be2d4"  # that the release of the scenario names


class Case(NamedTuple):
    """Series from minute 0 on, when they are looked at, and the alert that fires then; none without a summary."""

    series: dict[str, str]
    at: str
    summary: str = ""
    labels: Mapping[str, str] = MappingProxyType({})
    every: str = "1m"  # between values, and between looks at the rules


def served(name: str, **labels: str) -> str:
    """Return a series of the service."""
    return written(name, {"namespace": "ml", "service": "project", **labels})


def streamed(name: str, **labels: str) -> str:
    """Return a series of the stream."""
    return written(name, {"namespace": "ml", "service": "project-stream", **labels})


def told(name: str, **labels: str) -> str:
    """Return a series of the exporter."""
    return written(name, {"namespace": "ml", "service": "project-exporter", "pod": "project-exporter-1", **labels})


def of_another_pod(series: str) -> str:
    """Return what another pod tells of a series of the exporter."""
    return series.replace("exporter-1", "exporter-2")


def written(name: str, labels: Mapping[str, str]) -> str:
    """Return a series as Prometheus writes it."""
    told = [f'{key}="{value}"' for key, value in labels.items()]
    return f"{name}{{{', '.join(told)}}}"


PREDICTED = served("ml_predictions_total", bundle=BUNDLE, decision="true")
BROKEN = served("ml_broken_records_total")
ABSENT = served("ml_missing_values_total", feature="seats")
DRIFTED = told("ml_monitor_drifted", variable="distance")
JUDGED = told("ml_monitor_judged_timestamp_seconds")
SUMMED = served("ml_prediction_seconds_count")
ALARM = told("ml_monitor_alarm")
INFO = told("ml_monitor_info", bundle=BUNDLE)
BUCKETS = [served("ml_prediction_seconds_bucket", le=limit) for limit in ("0.05", "0.1", "0.25", "+Inf")]

# A week in steps of half an hour in which one value in ten is missing, then nine in ten.
NEWLY, WEEK = "0+100x336 33600+900x10", "0+1000x346"
HOURLY = "0+900x10 9100+100x325 41700+900x10"  # nine in ten at the hours that are looked at, a week before as well
ONCE = "0+100x200 20900+900x2 22800+100x132 36000+900x10"  # as it was for an hour in the middle of that week
MISSED = "seats is missing far more often than in the week before."
DRIFT = "1 of the model's inputs are not distributed as in training."
SILENT = "There is no verdict on project of the last two days."

CASES = {
    "PredictionsFail": [
        Case(
            {served("ml_refused_requests_total", route="/predict", status="500"): "0+2x30", SUMMED: "0+100x30"},
            "15m",
            "One request in a hundred fails; the log of project says why.",
        ),
        Case(
            {served("ml_refused_requests_total", route="/predict", status="500"): "0+1x30", SUMMED: "0+200x30"}, "15m"
        ),
        Case(
            {served("ml_refused_requests_total", route="/predict", status="400"): "0+9x30", SUMMED: "0+100x30"}, "15m"
        ),
    ],
    "PredictionsRefused": [
        Case(
            {served("ml_refused_requests_total", route="/predict", status="429"): "0+1x20"},
            "12m",
            "Requests are turned away: more pods, or more CPU, are needed.",
        ),
        Case({served("ml_refused_requests_total", route="/predict", status="400"): "0+1x20"}, "12m"),
    ],
    "PredictionsSlow": [
        Case(
            dict(zip(BUCKETS, ("0+50x30", "0+95x30", "0+100x30", "0+100x30"), strict=True)),
            "20m",
            "One prediction in a hundred takes longer than 0.1 s.",
        ),
        Case(dict(zip(BUCKETS, ("0+50x30", "0+100x30", "0+100x30", "0+100x30"), strict=True)), "20m"),
    ],
    "ContractBroken": [
        Case(
            {BROKEN: "0+10x30", PREDICTED: "0+90x30"}, "25m", "10% of the records break the contract and are refused."
        ),
        Case({BROKEN: "0+6x30", PREDICTED: "0+94x30"}, "25m", "6% of the records break the contract and are refused."),
        Case({BROKEN: "0+10x30"}, "25m", "100% of the records break the contract and are refused."),
        Case({BROKEN: "0+1x30", PREDICTED: "0+1x30"}, "25m", "50% of the records break the contract and are refused."),
        Case({BROKEN: "0+4x30", PREDICTED: "0+96x30"}, "25m"),
        Case({BROKEN: "0 0 5x30"}, "15m"),  # somebody tries something out
    ],
    "FeatureMissing": [
        Case({ABSENT: NEWLY, PREDICTED: WEEK}, "10260m", MISSED, {"feature": "seats"}, "30m"),
        Case({ABSENT: "_x336 0+900x10", PREDICTED: WEEK}, "10260m", MISSED, {"feature": "seats"}, "30m"),
        Case({ABSENT: "0+100x336 33600+400x10", PREDICTED: WEEK}, "10260m", MISSED, {"feature": "seats"}, "30m"),
        Case({ABSENT: ONCE, PREDICTED: WEEK}, "10260m", MISSED, {"feature": "seats"}, "30m"),
        Case({ABSENT: "0+1x336 336+9x10", PREDICTED: "0+10x346"}, "10260m", every="30m"),  # twenty an hour
        Case({ABSENT: "0+900x346", PREDICTED: WEEK}, "10260m", every="30m"),  # it always was
        Case({ABSENT: HOURLY, PREDICTED: WEEK}, "10260m", every="30m"),  # at this hour it always was
        Case({ABSENT: "0+100x336 33600+250x10", PREDICTED: WEEK}, "10260m", every="30m"),
        Case({ABSENT: "0+900x10", PREDICTED: "0+1000x10"}, "120m", every="30m"),  # there is no week to compare with
    ],
    "ModelFails": [
        Case(
            {served("ml_fallbacks_total", by="constant"): "0+1x20"},
            "12m",
            "A model cannot score, or is too slow: constant answers for it.",
            {"by": "constant"},
        ),
        Case({served("ml_fallbacks_total", by="constant"): "7x20"}, "12m"),
    ],
    "OnlineStoreDown": [
        Case(
            {served("ml_online_store_up", pod="a"): "1x10", served("ml_online_store_up", pod="b"): "0x10"},
            "5m",
            "The online store does not answer: windowed features are served as their defaults.",
        ),
        Case({served("ml_online_store_up", pod="a"): "1x10"}, "5m"),
    ],
    "EventLogDown": [
        Case(
            {served("ml_event_log_up", pod="a"): "0x10"},
            "5m",
            "The event log cannot be written: look at the object store, and at the room of the pods.",
        ),
        Case({served("ml_event_log_up", pod="a"): "1x10"}, "5m"),
    ],
    "EventsLost": [
        Case(
            {served("ml_lost_events_total"): "0 0 0 5x10"},
            "6m",
            "Rows of the event log are lost: predictions go on, and their labels will be missing.",
        ),
        Case({served("ml_lost_events_total"): "5x20"}, "15m"),
    ],
    "PlansDiffer": [
        Case(
            {served("ml_plan_info", plan="a", pod="a"): "1x20", served("ml_plan_info", plan="b", pod="b"): "1x20"},
            "15m",
            "Pods go by different plans: a rollout hangs, or a release needs bundles that no pod has.",
        ),
        Case(
            {served("ml_plan_info", plan="a", pod="a"): "0x20", served("ml_plan_info", plan="b", pod="a"): "1x20"},
            "15m",
        ),
    ],
    "StreamBehind": [
        Case(
            {streamed("ml_stream_lag", topic="updates", partition="0"): "20000x30"},
            "25m",
            "The stream is behind on updates: features are served older than they need to be.",
            {"topic": "updates"},
        ),
        Case({streamed("ml_stream_lag", topic="updates", partition="0"): "20000x8 0 20000x8 0 20000x12"}, "25m"),
    ],
    "StreamBuries": [
        Case(
            {streamed("ml_stream_dead_letters_total", topic="updates"): "0 0 0 1x10"},
            "6m",
            "Messages of updates cannot be read: see the topic of dead letters.",
            {"topic": "updates"},
        ),
        Case({streamed("ml_stream_dead_letters_total", topic="updates"): "1x20"}, "15m"),
    ],
    "ModelPerformance": [
        Case(
            {ALARM: "1x20", INFO: "1x20", PREDICTED: "0+1x20"},
            "12m",
            f"What came of the predictions of {BUNDLE} is no longer what it predicts.",
            {"bundle": BUNDLE},
        ),
        Case(
            {ALARM: "1x20", INFO: "1x20", PREDICTED: "0+1x20"}
            | {of_another_pod(each): "1x20" for each in (ALARM, INFO)},
            "12m",
            f"What came of the predictions of {BUNDLE} is no longer what it predicts.",
            {"bundle": BUNDLE},
        ),
        Case({ALARM: "0x20", INFO: "1x20", PREDICTED: "0+1x20"}, "12m"),
        Case({ALARM: "1x20", INFO: "1x20", PREDICTED: "7x20"}, "12m"),  # nobody asks
        Case({ALARM: "1x20", told("ml_monitor_info", bundle="0ld"): "1x20", PREDICTED: "0+1x20"}, "12m"),
    ],
    "InputDrift": [
        Case({DRIFTED: "1x140"}, "130m", DRIFT),
        Case({DRIFTED: "1x140", of_another_pod(DRIFTED): "1x140"}, "130m", DRIFT),  # pods agree
        Case({DRIFTED: "1x130 0x90"}, "200m", DRIFT),  # once drifted, it does not flap
        Case({DRIFTED: "1x60 0x80"}, "130m"),  # one verdict alone
        Case({DRIFTED: "1x140", BROKEN: "0+50x140", PREDICTED: "0+50x140"}, "135m"),
        Case({DRIFTED: "1x140", served("ALERTS", alertname="FeatureMissing", alertstate="firing"): "1x140"}, "135m"),
        Case(
            {DRIFTED: "1x140", served("ALERTS", alertname="ContractBroken", alertstate="pending"): "1x140"},
            "135m",
            DRIFT,
        ),
    ],
    "ServingSkew": [
        Case(
            {told("ml_monitor_skewed_features"): "3x20"},
            "10m",
            "3 features are served otherwise than they are trained on.",
        ),
        Case({told("ml_monitor_skewed_features"): "0x20"}, "10m"),
    ],
    "LabelsLate": [
        Case(
            {told("ml_monitor_coverage_ratio"): "0.5x140"}, "130m", "Only 50% of the outcomes that are due have come."
        ),
        Case({told("ml_monitor_coverage_ratio"): "0.9x140"}, "130m"),
    ],
    "MonitorSilent": [
        Case({JUDGED: "0x125", PREDICTED: "0+9x125"}, "248h", SILENT, every="2h"),
        Case({PREDICTED: "0+9x125"}, "248h", SILENT, every="2h"),
        Case({JUDGED: "0+7200x125", PREDICTED: "0+9x125"}, "248h", every="2h"),
        Case({JUDGED: "0+7200x90 648000x35", PREDICTED: "0+9x125"}, "248h", SILENT, every="2h"),  # for three days
        Case({JUDGED: "0x125", PREDICTED: "_x40 0+9x85"}, "248h", every="2h"),  # a week old: too young for a verdict
    ],
    "RetrainingStopped": [
        Case({told("ml_retraining_stopped"): "1x20"}, "10m", "Retraining has stopped itself and waits for a person."),
        Case({told("ml_retraining_stopped"): "0x20"}, "10m"),
    ],
}
