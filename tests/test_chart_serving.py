"""The serving chart: a rollout loses no request, pods are as many as are needed, and each part does its work alone."""

import pytest
from chart_rendering import (
    NAME,
    NAMESPACE,
    SCENARIOS,
    containers,
    given,
    one,
    pods,
    serving,
    settings,
    with_other,
    workload,
)

HASH = "rollouts-pod-template-hash"
NEVER_CHANGED = {  # by Kubernetes: an upgrade that changed one of these would fail, or orphan what runs
    "serving": {"app.kubernetes.io/name": "serving", "app.kubernetes.io/instance": NAME},
    "stream": {"app.kubernetes.io/name": "stream", "app.kubernetes.io/instance": NAME},
    "experiment": {"app.kubernetes.io/name": "experiment", "app.kubernetes.io/instance": NAME},
    "exporter": {"app.kubernetes.io/name": "exporter", "app.kubernetes.io/instance": NAME},
}


def test_all_that_is_written_lies_on_a_bounded_volume_of_the_pod(rendered, scenario):
    data = settings(rendered[scenario])["data"]
    written = [data[name] for name in ("ML_EVENTS_SPOOL", "BENTOML_HOME", "HOME")]
    pod, container = serving(rendered[scenario])
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    places = {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"]}
    assert all(any(f"{path}/".startswith(f"{place}/") for place in ("/var/ml", "/tmp")) for path in written)
    assert places["/var/ml"]["emptyDir"]["sizeLimit"] == given(scenario)["space"]
    assert "emptyDir" in places["/tmp"]
    assert all("emptyDir" in volumes[each["name"]] or each["readOnly"] for each in container["volumeMounts"])


def test_sizes_are_as_given(rendered, scenario):
    values, (_, container) = given(scenario), serving(rendered[scenario])
    assert container["resources"]["requests"] == {"cpu": values["cpu"], "memory": values["memory"]}


def test_probes_and_services_reach_the_ports_that_the_process_opens(rendered, scenario):
    _, container = serving(rendered[scenario])
    paths = {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    for probe, path in paths.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
    assert container["args"] == ["serve", "--host", "0.0.0.0", "--port", "3000"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"http": 3000, "outcomes": 3001}
    service = one(rendered[scenario], "Service")["spec"]
    assert {each["name"]: (each["port"], each["targetPort"]) for each in service["ports"]} == {
        "http": (80, "http"),
        "outcomes": (3001, "outcomes"),
    }


def test_what_selects_pods_never_changes_and_selects_the_pods_of_one_part(rendered, scenario):
    labelled = [labels for _, labels, _ in pods(rendered[scenario])]
    for each in rendered[scenario]:
        selector = each.get("spec", {}).get("selector", {})
        part = each["metadata"]["name"].removeprefix(f"{NAME}-") if each["metadata"]["name"] != NAME else "serving"
        if each["kind"] in ("Deployment", "Rollout"):
            assert selector == {"matchLabels": NEVER_CHANGED[part]}
            assert each["spec"]["template"]["metadata"]["labels"] == NEVER_CHANGED[part]
        elif each["kind"] == "Service":
            assert selector == NEVER_CHANGED[{"canary": "serving"}.get(part, part)]
            assert len([labels for labels in labelled if selector.items() <= labels.items()]) == 1
        elif each["kind"] == "PodDisruptionBudget":
            assert selector == {"matchLabels": NEVER_CHANGED["serving"]}


def test_a_rollout_takes_no_pod_away_before_its_requests_are_answered(rendered, scenario):
    spec, (pod, container) = workload(rendered[scenario])["spec"], serving(rendered[scenario])
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = int(settings(rendered[scenario])["data"]["ML_SERVE_DRAIN_SECONDS"])
    assert (sleep >= 5, drain >= 5) == (True, True)
    assert pod["terminationGracePeriodSeconds"] >= sleep + drain + 30
    how = spec["strategy"].get("rollingUpdate") or spec["strategy"]["canary"]
    assert how["maxUnavailable"] == 0
    startup = container["startupProbe"]
    assert 120 <= startup["periodSeconds"] * startup["failureThreshold"] < 600  # Kubernetes gives up at 600 s


def test_pods_spread_over_zones_and_nodes(rendered, scenario):
    pod, _ = serving(rendered[scenario])
    spread = {rule["topologyKey"]: rule for rule in pod["topologySpreadConstraints"]}
    assert set(spread) == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    hashed = "pod-template-hash" if workload(rendered[scenario])["kind"] == "Deployment" else HASH
    for rule in spread.values():
        assert rule["labelSelector"] == workload(rendered[scenario])["spec"]["selector"]
        assert (rule["matchLabelKeys"], rule["whenUnsatisfiable"]) == ([hashed], "ScheduleAnyway")


def test_a_budget_holds_pods_together_where_there_are_several(rendered, scenario):
    budgets = [each["spec"] for each in rendered[scenario] if each["kind"] == "PodDisruptionBudget"]
    assert len(budgets) == (given(scenario)["replicas"] > 1)
    for budget in budgets:
        assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


@pytest.mark.parametrize("by", ["cpu", "concurrency", "keda"])
def test_a_budget_holds_pods_together_where_there_may_be_several(charts, by):
    asked = {"replicas": 1, "autoscaling": {"by": by}, "metrics": {"rules": True}, "prometheus": "http://prometheus"}
    assert one(with_other(charts, "serving/cpu", asked), "PodDisruptionBudget")


def test_one_thing_alone_says_how_many_pods_there_are(rendered, scenario):
    by, manifests = given(scenario)["autoscaling"]["by"], rendered[scenario]
    scalers = [each["kind"] for each in manifests if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")]
    assert ("replicas" in workload(manifests)["spec"]) == (not by)
    assert scalers == {"": [], "keda": ["ScaledObject"]}.get(by, ["HorizontalPodAutoscaler"])


@pytest.mark.parametrize("by", ["cpu", "concurrency", "keda"])
@pytest.mark.parametrize("base", ["serving/cpu", "serving/rollout"])
def test_a_scaler_scales_what_serves(charts, by, base):
    asked = {"autoscaling": {"by": by}, "metrics": {"rules": True}, "prometheus": "http://prometheus:9090"}
    manifests = with_other(charts, base, asked)
    scaler = one(manifests, "ScaledObject" if by == "keda" else "HorizontalPodAutoscaler")["spec"]
    served = workload(manifests)
    target = {"apiVersion": served["apiVersion"], "kind": served["kind"], "name": NAME}
    assert scaler["scaleTargetRef"] == target
    least = scaler.get("minReplicas") or scaler["minReplicaCount"]
    assert least == 2 < (scaler.get("maxReplicas") or scaler["maxReplicaCount"])


def test_what_must_not_run_at_once_runs_in_one_pod_one_after_the_other(rendered):
    jobs = {each["metadata"]["name"]: each["spec"] for each in rendered["serving/jobs"] if each["kind"] == "CronJob"}
    assert set(jobs) == {f"{NAME}-monitor", f"{NAME}-score"}
    for job in jobs.values():
        assert (job["concurrencyPolicy"], job["jobTemplate"]["spec"]["backoffLimit"]) == ("Forbid", 0)
    touching = {
        name: [each["args"][0] for each in containers(job["jobTemplate"]["spec"]["template"]["spec"])]
        for name, job in jobs.items()
    }
    assert touching[f"{NAME}-monitor"] == ["compact", "profile", "monitor"]
    assert [
        name for name, verbs in touching.items() if {"compact", "profile", "label", "erase", "monitor"} & set(verbs)
    ] == [f"{NAME}-monitor"]


def test_the_route_leads_to_predictions_alone(rendered):
    for name in ("serving/route", "serving/rollout"):
        route = one(rendered[name], "HTTPRoute")["spec"]
        (rule,) = route["rules"]
        assert rule["matches"] == [{"method": "POST", "path": {"type": "Exact", "value": "/predict"}}]
        assert route["hostnames"] == ["predictions.example"]
        services = {each["metadata"]["name"] for each in rendered[name] if each["kind"] == "Service"}
        assert {each["name"] for each in rule["backendRefs"]} <= services


def test_a_canary_is_asked_by_a_route_or_as_any_other_pod(rendered):
    """Argo Rollouts pins the services that it is told of, whether or not a route leads to the second one."""
    routed, unrouted = rendered["serving/rollout"], rendered["serving/unrouted"]
    canary = workload(routed)["spec"]["strategy"]["canary"]
    assert (canary["stableService"], canary["canaryService"]) == (NAME, f"{NAME}-canary")
    how = canary["trafficRouting"]["plugins"]["argoproj-labs/gatewayAPI"]
    assert how == {"httpRoute": one(routed, "HTTPRoute")["metadata"]["name"], "namespace": NAMESPACE}
    (rule,) = one(routed, "HTTPRoute")["spec"]["rules"]
    assert [each["name"] for each in rule["backendRefs"]] == [NAME, f"{NAME}-canary"]
    alone = workload(unrouted)["spec"]["strategy"]["canary"]
    assert not {"stableService", "canaryService", "trafficRouting"} & set(alone)
    assert [each["metadata"]["name"] for each in unrouted if each["kind"] == "Service"] == [NAME]


def test_a_rollout_asks_whether_answers_fail_and_what_the_experiment_says(charts, rendered):
    manifests = rendered["serving/rollout"]
    metrics = {each["name"]: each for each in one(manifests, "AnalysisTemplate")["spec"]["metrics"]}
    assert set(metrics) == {"failures", "experiment"}
    for metric in metrics.values():
        assert metric["successCondition"] != metric["failureCondition"], "neither holds: inconclusive, which pauses"
    url = metrics["experiment"]["provider"]["web"]["url"]
    listener = one(manifests, "Service", f"{NAME}-experiment")["spec"]["ports"][0]["port"]
    assert url == f"http://{NAME}-experiment.{NAMESPACE}:{listener}/v1/verdict?name=wider-windows"
    canary = workload(manifests)["spec"]["strategy"]["canary"]
    assert canary["analysis"]["templates"] == [{"templateName": NAME}]
    alone = with_other(charts, "serving/rollout", {"release": SCENARIOS["serving/route"].values["release"]})
    (metric,) = one(alone, "AnalysisTemplate")["spec"]["metrics"]
    assert metric["name"] == "failures"
    assert not [each for each in alone if each["metadata"]["name"] == f"{NAME}-experiment"]
