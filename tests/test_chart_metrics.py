"""What is scraped, alerted on and drawn: only metrics that the code exports, by labels that they have."""

import ast
import itertools
import json
import re

import promql_parser as promql
import pytest
import yaml
from chart_rendering import one, pods, selects, with_other
from conftest import TEMPLATE

SERIES = {"Counter": [""], "Gauge": [""], "gauge": [""], "Histogram": ["_bucket", "_sum", "_count"]}
MODULES = ("serving/counters.py", "stream/counters.py", "monitoring/exporter.py", "monitoring/gauges.py")
GIVEN = {"namespace", "pod", "service", "le"}  # by who scrapes, and by histograms
ALERTS = {"ALERTS": {"alertname", "alertstate"}}  # Prometheus' own


def exported() -> dict[str, set[str]]:
    """Return the labels of each series that the service, the stream and the monitor export, by its name."""
    found = {}
    for module in MODULES:
        for call in ast.walk(ast.parse((TEMPLATE / "ml" / module).read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in SERIES:
                name, labels = (
                    ast.literal_eval(call.args[0]),
                    call.args[2:3] or [word.value for word in call.keywords if word.arg == "labelnames"],
                )
                for suffix in SERIES[call.func.id]:
                    found[name + suffix] = set(ast.literal_eval(labels[0])) if labels else set()
    return found


def asked(expression: str) -> tuple[set[str], set[str]]:
    """Return the series and the labels that an expression of Prometheus names; raises ValueError for what is none."""
    series, labels = set(), set()

    def note(part: promql.Expr) -> None:
        if isinstance(part, promql.VectorSelector):
            series.add(part.name)
            labels.update(matcher.name for matcher in part.matchers.matchers)
        if isinstance(part, promql.AggregateExpr) and part.modifier:
            labels.update(part.modifier.labels)

    promql.walk(promql.parse(re.sub(r"\$(namespace|service|metric)|\{\{args\.hash\}\}", "given", expression)), note)
    return series, labels


@pytest.fixture
def expressions(rendered) -> dict[str, str]:
    """All that is asked of Prometheus, by who asks."""
    found = {each.get("alert") or each["record"]: each["expr"] for each in rules(rendered)}
    for board in boards(rendered):
        for panel in board["panels"]:
            found |= {f"{panel['title']} {each['refId']}": each["expr"] for each in panel["targets"]}
        for variable in board["templating"]["list"][1:]:
            series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
            found[f"{board['title']} ${variable['name']}"] = f"count by ({label}) ({series})"
    (trigger,) = one(rendered["serving/keda"], "ScaledObject")["spec"]["triggers"]
    found["keda"] = trigger["metadata"]["query"]
    for metric in one(rendered["serving/rollout"], "AnalysisTemplate")["spec"]["metrics"]:
        found |= {f"rollout {metric['name']}": each["query"] for each in metric["provider"].values() if "query" in each}
    return found


def rules(rendered: dict, scenario: str = "serving/metrics") -> list[dict]:
    """Return the rules of all groups, in their order."""
    groups = one(rendered[scenario], "PrometheusRule")["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def boards(rendered: dict) -> list[dict]:
    """Return the dashboards."""
    found = one(rendered["serving/metrics"], "ConfigMap", "project-dashboard")["data"]
    assert set(found) == {"project.json", "project-model.json"}
    return [json.loads(text) for text in found.values()]


def recorded(rendered: dict) -> dict[str, set[str]]:
    """Return the labels of each series that a rule records, by its name."""
    found = {each["record"]: each for each in rules(rendered) if "record" in each}
    return {name: asked(each["expr"])[1] | set(each.get("labels", {})) for name, each in found.items()}


def test_the_code_exports_what_this_test_knows_how_to_read():
    series = exported()
    assert len(series) > 20
    assert series["ml_prediction_seconds_sum"] == set()
    assert series["ml_refused_requests_total"] == {"route", "status"}
    assert series["ml_plan_info"] == {"plan"}
    assert series["ml_monitor_signal_limit"] == {"signal", "side"}
    assert series["ml_monitor_up"] == set()


def test_every_series_and_every_label_that_is_asked_for_is_exported_or_recorded(expressions, rendered):
    known = exported() | recorded(rendered) | ALERTS
    assert len(expressions) > 60
    for who, expression in expressions.items():
        series, labels = asked(expression)
        assert series, who
        assert series <= set(known), who
        assert labels <= GIVEN.union(*(known[name] for name in series)), who


def test_every_metric_that_is_exported_is_seen_somewhere(expressions):
    seen = set().union(*(asked(expression)[0] for expression in expressions.values()))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported()}
    assert families - {re.sub(r"_(bucket|sum|count)$", "", name) for name in seen} == {
        "ml_stream_events_total",
        "ml_stream_commits_total",
        "ml_records_without_entity_total",
    }


def test_the_metric_that_pods_are_scaled_by_is_recorded_under_its_name(rendered):
    (metric,) = one(rendered["serving/concurrency"], "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in [each.get("record") for each in rules(rendered, "serving/concurrency")]


HASH = "rollouts-pod-template-hash"


def scraped(manifests: list[dict], pinned: dict[str, str]) -> list[tuple[str, str]]:
    """Return pod and service of each target that Prometheus' operator makes of the pods, one of them a canary.

    Argo Rollouts pins services to the pods of one hash. Of targets with the same labels Prometheus keeps one.
    """
    running = {who.partition("/")[2]: labels for who, labels, _ in pods(manifests)}
    running |= {f"project-{told}": running["project"] | {HASH: told} for told in ("stable", "latest")}
    del running["project"]
    monitor, targets = one(manifests, "ServiceMonitor")["spec"], set()
    services = [each for each in manifests if each["kind"] == "Service"]
    for each, endpoint, (pod, labels) in itertools.product(services, monitor["endpoints"], running.items()):
        name, ports = each["metadata"]["name"], [port["name"] for port in each["spec"]["ports"]]
        chosen = each["spec"]["selector"] | ({HASH: pinned[name]} if name in pinned else {})
        found = selects(monitor["selector"], each["metadata"]["labels"]) and chosen.items() <= labels.items()
        if found and endpoint["port"] in ports:
            target = {"pod": pod, "service": name, "job": name, "endpoint": endpoint["port"]}
            target |= {rule["targetLabel"]: rule["replacement"] for rule in endpoint.get("relabelings", [])}
            targets.add(tuple(sorted(target.items())))
    return sorted((dict(target)["pod"], dict(target)["service"]) for target in targets)


@pytest.mark.parametrize(
    ("scenario", "pinned"),
    [
        ("serving/stream", {}),
        ("serving/rollout", {"project": "stable", "project-canary": "stable"}),
        ("serving/rollout", {"project": "stable", "project-canary": "latest"}),
        ("serving/unrouted", {}),
    ],
)
def test_the_operator_finds_each_pod_once_the_canary_and_the_exporter_too(charts, scenario, pinned):
    on = {
        "metrics": {"monitor": True, "labels": {"release": "p"}},
        "stream": {"enabled": True, "brokers": "kafka:9092"},
        "monitor": {"enabled": True},
    }
    manifests = with_other(charts, scenario, on | {"images": {"stream": "ml:1", "training": "ml:2"}})
    assert one(manifests, "ServiceMonitor")["metadata"]["labels"]["release"] == "p"
    serving = {"project-stable", "project-latest"}
    if set(pinned.values()) == {"stable"}:  # the canary is not there yet
        serving = {"project-stable"}
    expected = [("project-exporter", "project-exporter"), *((pod, "project") for pod in sorted(serving))]
    expected += [("project-stream", "project-stream")]
    assert scraped(manifests, pinned) == expected


def test_the_platforms_prometheus_gives_the_labels_that_rules_ask_for(rendered):
    told = yaml.safe_load(one(rendered["platform/all"], "ConfigMap", "project-prometheus")["data"]["prometheus.yml"])
    (job,) = told["scrape_configs"]
    labels = {each["target_label"] for each in job["relabel_configs"] if "target_label" in each}
    assert labels == {"namespace", "pod", "service"}


def test_the_platforms_prometheus_calls_the_stream_and_the_exporter_as_the_operator_does(rendered):
    told = yaml.safe_load(one(rendered["platform/all"], "ConfigMap", "project-prometheus")["data"]["prometheus.yml"])
    kept, *_, renamed = told["scrape_configs"][0]["relabel_configs"]
    for part, port in (("serving", "http"), ("stream", "metrics"), ("exporter", "metrics")):
        assert re.fullmatch(kept["regex"], f"{part};{port}")
        found = re.fullmatch(renamed["regex"], f"{part};project")
        assert bool(found) == (part != "serving")
        if found:
            assert found.expand(renamed["replacement"].replace("$", "\\")) == f"project-{part}"
    assert not re.fullmatch(kept["regex"], "experiment;http")


def test_panels_do_not_overlap(rendered):
    for board in boards(rendered):
        taken = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(at["x"] + right, at["y"] + down) for right in range(at["w"]) for down in range(at["h"])}
            assert not taken & cells, panel["title"]
            assert max(right for right, _ in cells) < 24
            taken |= cells
