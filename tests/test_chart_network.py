"""Who may talk to whom: every pod of a release is closed, and open to exactly what is named."""

import pytest
from chart_rendering import NAMESPACE, SCENARIOS, notes, pods, selects, with_other

CLOSED = sorted(
    name
    for name, (chart, values) in SCENARIOS.items()
    if chart == "serving" and values.get("network", {}).get("closed", True)
)


def opened(manifests: list[dict], labels: dict, direction: str) -> dict[str, list]:
    """Return what is open for a pod, by the policy that opens it: ports with protocol, and peers (none: anywhere)."""
    found = {}
    for each in manifests:
        if each["kind"] == "NetworkPolicy" and selects(each["spec"]["podSelector"], labels):
            assert direction.capitalize() in each["spec"]["policyTypes"] or direction not in each["spec"]
            for rule in each["spec"].get(direction, []):
                ports = [f"{port['protocol']}/{port['port']}" for port in rule["ports"]]
                peers = rule.get("from" if direction == "ingress" else "to", [])
                found[each["metadata"]["name"].removeprefix("project-")] = [ports, peers]
    return found


def lets(manifests: list[dict], part: str, port: str, caller: dict, space: str = NAMESPACE) -> bool:
    """Say whether the pods of a part let a pod of a namespace, by its labels, ask at a port."""
    for ports, peers in opened(manifests, selector(part), "ingress").values():
        for peer in peers if f"TCP/{port}" in ports else ():
            there = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
            where = selects(peer.get("namespaceSelector", there), {"kubernetes.io/metadata.name": space})
            if where and selects(peer.get("podSelector", {}), caller):
                return True
    return False


def labels_of(manifests: list[dict], part: str) -> dict:
    return next(labels for _, labels, _ in pods(manifests) if labels["app.kubernetes.io/name"] == part)


def selector(part: str) -> dict:
    return {"app.kubernetes.io/name": part, "app.kubernetes.io/instance": "project"}


@pytest.mark.parametrize("name", CLOSED)
def test_every_pod_is_closed_in_both_directions(rendered, name):
    for who, labels, _ in pods(rendered[name]):
        closing = [
            each["metadata"]["name"]
            for each in rendered[name]
            if each["kind"] == "NetworkPolicy"
            and selects(each["spec"]["podSelector"], labels)
            and each["spec"]["policyTypes"] == ["Ingress", "Egress"]
            and not {"ingress", "egress"} & set(each["spec"])
        ]
        assert closing == ["project-closed"], who


@pytest.mark.parametrize("name", CLOSED)
def test_no_policy_selects_nothing_or_opens_every_port(rendered, name):
    labelled = [labels for _, labels, _ in pods(rendered[name])]
    for each in rendered[name]:
        if each["kind"] == "NetworkPolicy":
            assert any(selects(each["spec"]["podSelector"], labels) for labels in labelled), each["metadata"]["name"]
            for rule in [*each["spec"].get("ingress", []), *each["spec"].get("egress", [])]:
                assert rule["ports"], each["metadata"]["name"]


def test_each_caller_reaches_its_port_and_no_other(rendered):
    manifests = rendered["serving/network"]

    def space(name: str) -> list[dict]:
        return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}]

    smoke = [{"podSelector": {"matchLabels": selector("smoke")}}]
    assert opened(manifests, labels_of(manifests, "serving"), "ingress") == {
        "from-clients": [["TCP/http"], space("gateway")],
        "from-senders": [["TCP/outcomes"], space("bookings")],
        "from-monitoring": [["TCP/http"], space("monitoring")],
        "from-smoke": [["TCP/http"], smoke],
    }
    assert opened(manifests, labels_of(manifests, "smoke"), "ingress") == {}


def test_a_gateway_reaches_predictions_wherever_it_is(charts, rendered):
    for name in ("serving/route", "serving/rollout"):
        assert lets(rendered[name], "serving", "http", {}, "gateway")
        assert not lets(rendered[name], "serving", "http", {}, "other")
        assert not lets(rendered[name], "serving", "outcomes", {}, "gateway")
    here = with_other(charts, "serving/route", {"route": {"namespace": ""}, "network": {"clients": []}})
    assert lets(here, "serving", "http", {})
    assert not lets(rendered["serving/production"], "serving", "http", {}, "gateway")


def test_prometheus_reaches_the_pods_that_it_is_to_read(charts, rendered):
    for name in ("serving/metrics", "serving/rollout", "serving/keda", "serving/concurrency"):
        assert lets(rendered[name], "serving", "http", {}, "monitoring"), name
    platforms = labels_of(rendered["platform/all"], "prometheus")
    closed = with_other(charts, "serving/stream", {"network": {"clients": []}})
    for part, port in (("serving", "http"), ("stream", "metrics")):
        assert lets(closed, part, port, platforms)
        assert not lets(closed, part, port, {})
        assert not lets(closed, part, port, platforms, "other")
    jobs = rendered["serving/jobs"]
    assert lets(jobs, "exporter", "metrics", platforms)
    assert not lets(jobs, "exporter", "metrics", {})


def test_what_a_closed_network_shuts_out_is_told(charts):
    metrics, nobody = "network.monitoring has to name it", {"network": {"monitoring": []}}
    told = [name for name in CLOSED if metrics in notes(charts, name, {})]
    assert told == ["serving/unrouted"], "the others ask no Prometheus, or let the one that they ask in"
    assert metrics in notes(charts, "serving/metrics", nobody)
    assert metrics not in notes(charts, "serving/metrics", nobody | {"network": {"closed": False}})
    arms = "{there: {bundle: 'http://there:80'}}"
    shadow = f"{SCENARIOS['serving/route'].values['release']}experiment: {{name: x, mode: shadow, arms: {arms}}}\n"
    said = "The release asks http://there:80: network.ports"
    assert said in notes(charts, "serving/route", {"release": shadow})
    assert said not in notes(charts, "serving/route", {"release": shadow, "network": {"ports": [3000]}})
    assert said not in notes(charts, "serving/route", {})


def test_nobody_may_send_outcomes_unless_he_is_named(rendered):
    for name in CLOSED:
        ways = opened(rendered[name], labels_of(rendered[name], "serving"), "ingress")
        assert ("from-senders" in ways) == (name == "serving/network")


def test_each_part_reaches_what_its_settings_name_and_nothing_else(rendered):
    system = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]
    dns, store, online = [["UDP/53", "TCP/53"], system], [["TCP/443"], []], [["TCP/6380"], []]
    jobs = rendered["serving/jobs"]
    assert opened(jobs, labels_of(jobs, "serving"), "egress") == {"to-dns": dns, "to-store": store, "to-online": online}
    assert opened(jobs, labels_of(jobs, "monitor"), "egress") == {"to-dns": dns, "to-store": store}
    assert opened(jobs, labels_of(jobs, "score"), "egress") == {"to-dns": dns, "to-store": store, "to-online": online}
    assert opened(jobs, labels_of(jobs, "exporter"), "egress") == {"to-dns": dns, "to-store": store}
    stream = rendered["serving/stream"]
    assert opened(stream, labels_of(stream, "stream"), "egress") == {
        "to-dns": dns,
        "to-online": online,
        "stream-to-brokers": [["TCP/9092", "TCP/9093"], []],
    }
    there = SCENARIOS["serving/network"].values["network"]["destinations"]
    network = rendered["serving/network"]
    assert opened(network, labels_of(network, "serving"), "egress") == {
        "to-dns": dns,
        "to-store": [["TCP/443"], there],
        "to-online": [["TCP/6379"], there],
        "to-more": [["TCP/4318"], there],
    }
    kind = rendered["serving/kind"]
    assert opened(kind, labels_of(kind, "serving"), "egress") == {"to-dns": dns, "to-store": [["TCP/8333"], []]}


def test_the_smoke_test_reaches_the_service_and_the_rollout_the_experiment(rendered):
    manifests = rendered["serving/rollout"]
    serving = [{"podSelector": {"matchLabels": selector("serving")}}]
    assert opened(manifests, labels_of(manifests, "smoke"), "egress")["to-serving"] == [["TCP/3000"], serving]
    controller = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "argo-rollouts"}}}
    asked = opened(manifests, labels_of(manifests, "experiment"), "ingress")
    assert asked == {"from-rollouts": [["TCP/http"], [controller]]}


def test_where_the_network_is_open_there_is_no_policy(rendered):
    for name in ("serving/image", "training/open", "platform/redis"):
        assert not [each for each in rendered[name] if each["kind"] == "NetworkPolicy"]


def test_steps_and_the_parts_of_the_platform_are_closed_too(rendered):
    step = {"workflows.argoproj.io/workflow": "run-1"}
    assert opened(rendered["training/profile"], step, "ingress") == {}
    reached = [each["spec"]["egress"] for each in rendered["training/profile"] if each["kind"] == "NetworkPolicy"]
    assert len(reached) == 3
    assert all(rule["ports"] and (rule.get("to") or rule["ports"][0]["port"] == 443) for to in reached for rule in to)
    assert set(opened(rendered["training/profile"], step, "egress")) == {"steps"}
    for who, labels, _ in pods(rendered["platform/all"]):
        ways = opened(rendered["platform/all"], labels, "ingress")
        assert [peers for _, peers in ways.values()] == [[{"podSelector": {}}]], who
    s3 = labels_of(rendered["platform/all"], "s3")
    assert opened(rendered["platform/all"], s3, "egress") == {}


def test_rungs_are_trained_elsewhere_by_a_switch_alone_and_their_nodes_reach_each_other_and_the_store(rendered):
    label = {"app.kubernetes.io/component": "trainjob"}  # of ml/pipeline/trainjob.py
    for name, switched in (("training/profile", True), ("training/kind", False)):
        (role,) = [each for each in rendered[name] if each["metadata"]["name"] == "project-steps" and "rules" in each]
        rights = [rule["verbs"] for rule in role["rules"] if rule["resources"] == ["trainjobs"]]
        assert rights == ([["create", "delete", "get"]] if switched else [])
        assert bool(opened(rendered[name], label, "egress")) is switched
    (policy,) = [each for each in rendered["training/profile"] if each["metadata"]["name"] == "project-trainjobs"]
    nodes, spec = [{"podSelector": {"matchLabels": label}}], policy["spec"]
    assert [rule["from"] for rule in spec["ingress"]] == [nodes]
    dns, each_other, store = spec["egress"]
    assert (each_other["to"], [port["port"] for port in dns["ports"]]) == (nodes, [53, 53])
    assert [port["port"] for port in store["ports"]] == [443, 6379]
