"""Wrong values: each is refused before anything is installed, by a sentence that names it."""

import re

import helm_python as helm
import pytest
import yaml
from chart_rendering import CHARTS, CUSTOM, NAMES, SCENARIOS, SHA256, changed, knowing, render

BY_DIGEST = f"registry.example/ml@sha256:{SHA256}"
WRONG = {
    "a misspelt key": ("serving/production", {"replica": 3}, "'replica' not allowed"),
    "a misspelt key below": ("serving/production", {"images": {"server": BY_DIGEST}}, "'server' not allowed"),
    "a bundle beside the release": ("serving/production", {"bundle": SHA256}, "'bundle' not allowed"),
    "an environment with a capital": ("serving/production", {"environment": "eU"}, "'/environment'"),
    "an environment with a digit first": ("serving/production", {"environment": "2nd"}, "'/environment'"),
    "a release without a champion": ("serving/production", {"release": "champions: []\n"}, "'/release'"),
    "a release whose champion is cut": ("serving/production", {"release": f"champion: {SHA256[:-1]}\n"}, "'/release'"),
    "a release that is no YAML": ("serving/production", {"release": f"champion: {SHA256}\n[\n"}, "release is no YAML"),
    "the path of a release": ("serving/production", {"release": "environments/eu/release.yaml"}, "'/release'"),
    "no image": ("serving/production", {"images": {"serving": ""}}, "'/images/serving'"),
    "an image without digest or tag": ("serving/production", {"images": {"serving": "ml"}}, "'/images/serving'"),
    "a digest that is cut": ("serving/production", {"images": {"serving": BY_DIGEST[:-1]}}, "'/images/serving'"),
    "a digest of no algorithm": ("serving/production", {"images": {"serving": f"ml@{SHA256}"}}, "'/images/serving'"),
    "a tag and a digest": ("serving/production", {"images": {"serving": f"ml:1@sha256:{SHA256}"}}, "'/images/serving'"),
    "a tag with a space": ("serving/production", {"images": {"serving": "ml:a b"}}, "'/images/serving'"),
    "bundles from nowhere": ("serving/production", {"bundlesFrom": "volume"}, "'/bundlesFrom'"),
    "a store that is a folder": ("serving/production", {"store": {"url": "/srv/store"}}, "'/store/url'"),
    "a store that ends with a slash": ("serving/production", {"store": {"url": "s3://models/"}}, "'/store/url'"),
    "a bucket that S3 does not allow": ("serving/production", {"store": {"url": "s3://ml/store"}}, "'/store/url'"),
    "a lake without a driver": ("serving/production", {"lake": "ftp://host/lake"}, "'/lake'"),
    "a store without a driver": ("serving/production", {"store": {"url": "gs://models/ml"}}, "'/store/url'"),
    "an Azure without a driver": ("serving/jobs", {"score": {"records": "abfs://ml@a.net/d"}}, "'/score/records'"),
    "training without a driver": ("training/profile", {"store": {"url": "az://models/ml"}}, "'/store/url'"),
    "a training lake without one": ("training/profile", {"lake": "hdfs://host/ml"}, "'/lake'"),
    "no store for the bundles": ("serving/production", {"store": {"url": ""}}, "'/store/url'"),
    "no store for the monitor": ("serving/jobs", {"bundlesFrom": "image", "store": {"url": ""}}, "'/store/url'"),
    "a secret with an underscore": ("serving/production", {"store": {"secret": "the_store"}}, "'/store/secret'"),
    "a port beyond all": ("serving/production", {"store": {"port": 65536}}, "'/store/port'"),
    "a password in a URL": ("serving/production", {"online": {"url": "redis://:word@host/0"}}, "'/online/url'"),
    "an online store of another kind": ("serving/production", {"online": {"url": "/srv/lmdb"}}, "'/online/url'"),
    "several pods with an embedded store": ("serving/production", {"online": {"url": ""}}, "'/online/url'"),
    "scaled pods with one": (
        "serving/production",
        {"replicas": 1, "autoscaling": {"by": "cpu"}, "online": {"url": ""}},
        "'/online/url'",
    ),
    "a stream beside one": ("serving/stream", {"replicas": 1, "online": {"url": ""}}, "'/online/url'"),
    "scores beside one": ("serving/jobs", {"replicas": 1, "online": {"secret": ""}}, "'/online/url'"),
    "a canary beside one": ("serving/rollout", {"replicas": 1, "online": {"url": ""}}, "'/online/url'"),
    "several pods without a salt": ("serving/production", {"secrets": ""}, "'/secrets'"),
    "scaled pods without a salt": (
        "serving/production",
        {"replicas": 1, "autoscaling": {"by": "cpu"}, "secrets": ""},
        "'/secrets'",
    ),
    "a monitor without a salt": ("serving/jobs", {"replicas": 1, "secrets": ""}, "'/secrets'"),
    "a setting that is none": ("serving/production", {"settings": {"PATH": "/"}}, "invalid propertyName 'PATH'"),
    "a number as setting": ("serving/production", {"settings": {"ML_TRAIN_SEED": 7}}, "'/settings/ML_TRAIN_SEED'"),
    "a setting of the chart": (
        "serving/production",
        {"settings": {"ML_ONLINE_URL": "redis://other"}},
        "settings.ML_ONLINE_URL is the chart's own",
    ),
    "no pods": ("serving/production", {"replicas": 0}, "'/replicas'"),
    "CPU as a word": ("serving/production", {"cpu": "two"}, "'/cpu'"),
    "memory in thousandths of a byte": ("serving/production", {"memory": "512m"}, "'/memory'"),
    "room without a unit": ("serving/production", {"space": "1024"}, "'/space'"),
    "a scaler that is none": ("serving/cpu", {"autoscaling": {"by": "moon"}}, "'/autoscaling/by'"),
    "fewer pods at most than at least": (
        "serving/cpu",
        {"replicas": 30},
        "autoscaling.most is 20, fewer than replicas, which is 30 and the least",
    ),
    "an online store at no port": ("serving/jobs", {"online": {"port": 0}}, "'/online/port'"),
    "a limit of one pod": ("serving/cpu", {"autoscaling": {"most": 1}}, "'/autoscaling/most'"),
    "more CPU than there is": ("serving/cpu", {"autoscaling": {"cpu": 101}}, "'/autoscaling/cpu'"),
    "nothing at once": ("serving/concurrency", {"autoscaling": {"concurrency": 0}}, "'/autoscaling/concurrency'"),
    "a metric that no rule records": ("serving/concurrency", {"metrics": {"rules": False}}, "'/metrics/rules'"),
    "keda without Prometheus": ("serving/keda", {"prometheus": ""}, "'/prometheus'"),
    "Prometheus without a scheme": ("serving/keda", {"prometheus": "prometheus:9090"}, "'/prometheus'"),
    "a peer that is a name": ("serving/network", {"network": {"clients": ["gateway"]}}, "'/network/clients/0'"),
    "a peer that is everybody": ("serving/network", {"network": {"senders": [{}]}}, "'/network/senders/0'"),
    "a peer that selects by no label": (
        "serving/network",
        {"network": {"clients": [{"podSelector": {"foo": 1}}]}},
        "'/network/clients/0/podSelector'",
    ),
    "a peer's label that is a number": (
        "serving/network",
        {"network": {"monitoring": [{"namespaceSelector": {"matchLabels": {"tier": 1}}}]}},
        "'/network/monitoring/0/namespaceSelector/matchLabels/tier'",
    ),
    "a peer by an operator that is none": (
        "serving/network",
        {"network": {"senders": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}]}},
        "'/network/senders/0/podSelector/matchExpressions/0/operator'",
    ),
    "an address that is no block": (
        "serving/network",
        {"network": {"destinations": [{"ipBlock": {"cidr": "10.0.0.1"}}]}},
        "'/network/destinations/0/ipBlock/cidr'",
    ),
    "a block and a selector": (
        "serving/network",
        {"network": {"destinations": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}},
        "'/network/destinations/0'",
    ),
    "a peer of training by no label": (
        "training/profile",
        {"network": {"destinations": [{"podSelector": {"foo": 1}}]}},
        "'/network/destinations/0/podSelector'",
    ),
    "a port that is a name": ("serving/network", {"network": {"ports": ["http"]}}, "'/network/ports/0'"),
    "a route to no gateway": ("serving/route", {"route": {"gateway": ""}}, "'/route/gateway'"),
    "a route without a host": ("serving/route", {"route": {"hosts": []}}, "'/route/hosts'"),
    "an alert at no time": ("serving/metrics", {"metrics": {"slow": 0}}, "'/metrics/slow'"),
    "a share of more than all": ("serving/metrics", {"metrics": {"coverage": 1.1}}, "'/metrics/coverage'"),
    "a runbook with an anchor": ("serving/metrics", {"metrics": {"runbook": "a.md#b"}}, "'/metrics/runbook'"),
    "a label that is a number": ("serving/metrics", {"metrics": {"labels": {"tier": 1}}}, "'/metrics/labels/tier'"),
    "a job without its image": ("serving/jobs", {"images": {"training": ""}}, "'/images/training'"),
    "a schedule of six fields": ("serving/jobs", {"monitor": {"schedule": "0 17 * * * *"}}, "'/monitor/schedule'"),
    "a schedule at no time": ("serving/jobs", {"monitor": {"schedule": "99 99 99 99 99"}}, "'/monitor/schedule'"),
    "an hour that no day has": ("serving/jobs", {"score": {"schedule": "0 24 * * *"}}, "'/score/schedule'"),
    "a month that no year has": ("serving/jobs", {"score": {"schedule": "0 3 * 13 *"}}, "'/score/schedule'"),
    "an eighth day of the week": ("serving/jobs", {"score": {"schedule": "0 3 * * 7"}}, "'/score/schedule'"),
    "a schedule as a word": ("serving/jobs", {"score": {"schedule": "nightly"}}, "'/score/schedule'"),
    "no day to score": ("serving/jobs", {"score": {"days": 0}}, "'/score/days'"),
    "a stream without its image": ("serving/stream", {"images": {"stream": ""}}, "'/images/stream'"),
    "a stream of nothing": ("serving/stream", {"stream": {"brokers": ""}}, "'/stream/brokers'"),
    "a broker without a port": ("serving/stream", {"stream": {"brokers": "kafka"}}, "'/stream/brokers'"),
    "a rollout without steps": ("serving/rollout", {"rollout": {"steps": []}}, "'/rollout/steps'"),
    "a step that is misspelt": ("serving/rollout", {"rollout": {"steps": [{"setWeigth": 5}]}}, "'/rollout/steps/0'"),
    "a step of two things": (
        "serving/rollout",
        {"rollout": {"steps": [{"setWeight": 5, "pause": {}}]}},
        "'/rollout/steps/0'",
    ),
    "a step that mirrors nothing": (
        "serving/rollout",
        {"rollout": {"steps": [{"setMirrorRoute": {"name": "x"}}]}},
        "'setMirrorRoute' not allowed",
    ),
    "more than all requests": ("serving/rollout", {"rollout": {"steps": [{"setWeight": 101}]}}, "/0/setWeight'"),
    "a pause of no unit": (
        "serving/rollout",
        {"rollout": {"steps": [{"pause": {"duration": "5 minutes"}}]}},
        "'/rollout/steps/0/pause/duration'",
    ),
    "a scaled canary without a route": (
        "serving/unrouted",
        {"rollout": {"steps": [{"setCanaryScale": {"weight": 5}}]}},
        "'/rollout/steps/0/setCanaryScale'",
    ),
    "a rollout that asks nobody": ("serving/rollout", {"prometheus": ""}, "'/prometheus'"),
    "simulated time that is not told": ("serving/simulated", {"testAt": ""}, "'/testAt'"),
    "a time without a zone": ("serving/simulated", {"testAt": "2013-04-01T12:00:00"}, "'/testAt'"),
    "a training image without a digest": ("training/profile", {"image": "ml"}, "'/image'"),
    "Kubeflow without a scheme": ("training/profile", {"kubeflow": {"host": "ml-pipeline:8888"}}, "'/kubeflow/host'"),
    "a trainer by its name": ("training/profile", {"kubeflow": {"trainer": "trainer"}}, "'/kubeflow/trainer'"),
    "a training at no time": ("training/profile", {"schedule": "0 60 3 * * 1"}, "'/schedule'"),
    "a schedule of five fields": ("training/profile", {"schedule": "0 3 * * 1"}, "'/schedule'"),
    "a quota without memory": ("training/profile", {"quota": {"memory": ""}}, "'/quota/memory'"),
    "training without a store": ("training/profile", {"store": {"url": ""}}, "'/store/url'"),
    "steps without credentials": ("training/profile", {"store": {"secret": ""}}, "'/store/secret'"),
    "a setting of the training chart": (
        "training/profile",
        {"settings": {"ML_KUBEFLOW_IMAGE": "other"}},
        "settings.ML_KUBEFLOW_IMAGE is the chart's own",
    ),
    "a part that is none": ("platform/all", {"kafka": {"enabled": True}}, "'kafka' not allowed"),
    "a part of the newest image": ("platform/all", {"redis": {"image": "redis:latest"}}, "'/redis/image'"),
    "a part without a tag": ("platform/all", {"s3": {"image": "chrislusf/seaweedfs"}}, "'/s3/image'"),
    "a volume without a unit": ("platform/all", {"s3": {"size": "10"}}, "'/s3/size'"),
    "an object store without a key": ("platform/all", {"s3": {"secret": ""}}, "'/s3/secret'"),
}  # fmt: skip
MISSING = {
    "serving": {"environment", "release", "images/serving", "store/url", "online/url", "secrets"},
    "training": {"environment", "image", "store/url"},
}


@pytest.mark.parametrize(("scenario", "change", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_refused_by_name(charts, scenario, change, named):
    chart, right = SCENARIOS[scenario]
    with pytest.raises((helm.HelmValuesError, helm.HelmRenderError), match=re.escape(named)):
        render(charts / chart, changed(right, change))


@pytest.mark.parametrize("chart", MISSING)
def test_the_defaults_alone_are_refused_and_every_missing_value_is_named(charts, chart):
    with pytest.raises(helm.HelmValuesError) as refusal:
        render(charts / chart, {})
    assert set(re.findall(r"at '/([\w/]+)'", str(refusal.value))) - {"images", "store"} == MISSING[chart]


RIGHT = {
    "each quarter of an hour of a working day": ("serving/jobs", {"monitor": {"schedule": "*/15 8-18 * * MON-FRI"}}),
    "days of a month": ("serving/jobs", {"score": {"schedule": "05 03 1,15,31 JAN-JUN,12 ?"}}),
    "seconds first": ("training/profile", {"schedule": "30 0 23 ? * 0,6"}),
    "no schedule": ("training/profile", {"schedule": ""}),
    "peers of all kinds": (
        "serving/network",
        {
            "network": {
                "clients": [
                    {
                        "namespaceSelector": {},
                        "podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
                    },
                    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                    {"ipBlock": {"cidr": "fd00::/8"}},
                ]
            }
        },
    ),
    "steps of all kinds": (
        "serving/rollout",
        {
            "rollout": {
                "steps": [
                    {"setCanaryScale": {"weight": 25}},
                    {"setWeight": 0},
                    {"pause": {}},
                    {"pause": {"duration": 60}},
                    {"pause": {"duration": "1h"}},
                    {"setCanaryScale": {"matchTrafficWeight": True}},
                ]
            }
        },
    ),
    "more pods than most where nothing scales them": ("serving/production", {"replicas": 30}),
}


@pytest.mark.parametrize(("scenario", "change"), RIGHT.values(), ids=RIGHT)
def test_a_right_value_is_taken(charts, scenario, change):
    chart, right = SCENARIOS[scenario]
    assert render(charts / chart, changed(right, change))


def test_the_platform_needs_no_value_at_all(charts):
    assert {each["kind"] for each in render(charts / "platform", {})} == {"NetworkPolicy", "Service", "StatefulSet"}


@pytest.mark.parametrize(
    ("scenario", "value", "api"),
    [
        ("serving/metrics", "metrics.monitor or metrics.rules", "monitoring.coreos.com/v1"),
        ("serving/concurrency", "metrics.monitor or metrics.rules", "monitoring.coreos.com/v1"),
        ("serving/keda", "autoscaling.by", "keda.sh/v1alpha1"),
        ("serving/route", "route.enabled", "gateway.networking.k8s.io/v1"),
        ("serving/rollout", "rollout.enabled", "argoproj.io/v1alpha1"),
    ],
)
def test_a_custom_resource_that_the_cluster_does_not_know_fails_loudly(tmp_path, scenario, value, api):
    chart, values = SCENARIOS[scenario]
    with pytest.raises(helm.HelmRenderError, match=rf"{value} needs {api}, which this cluster does not know: install "):
        render(CHARTS / chart, values)
    others = knowing(tmp_path, CUSTOM - {api})
    with pytest.raises(helm.HelmRenderError, match=f"{value} needs {api}"):
        render(others / chart, values)


def test_custom_resources_come_by_their_switch_alone(charts):
    asked = {"metrics", "concurrency", "keda", "route", "rollout", "unrouted"}
    for name, (chart, values) in SCENARIOS.items():
        found = {each["apiVersion"] for each in render(charts / chart, values)} & CUSTOM
        assert bool(found) == (name.partition("/")[2] in asked), name


def test_the_smallest_values_fit_on_a_screen():
    for name in ("serving/kind", "serving/production", "training/kind", "platform/kind"):
        chart, _, scenario = name.partition("/")
        lines = (CHARTS / chart / "ci" / f"{scenario}-values.yaml").read_text().splitlines()
        assert len(lines) <= 10, name
        assert yaml.safe_load("\n".join(lines)) is not None or chart == "platform"
    assert set(NAMES) == {"platform", "serving", "training"}
