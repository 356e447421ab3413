"""What the project puts into its own cluster fits the charts: names that meet, valid objects, restricted pods."""

import json
import re
import subprocess
import sys
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from chart_rendering import CHARTS, SHA256, VERSIONS, one, pods, render
from conftest import TEMPLATE
from pod_security import violations

KIND = TEMPLATE / "environments" / "kind" / "values.yaml"
IMAGE = f"localhost:5001/churn-serving@sha256:{SHA256}"
OBJECTS = f"""
import json
from ml.cluster import cluster, rehearse
from ml.cluster.target import Target
target = Target("kind-churn", "churn", "churn")
job = rehearse.job(target, "{IMAGE}", {{"a": 1}})
print(json.dumps([target.space("lite"), cluster._keys(), cluster._registry("localhost:5001"), job]))
print(cluster.PLATFORM, cluster.STORE_SECRET)
"""


@pytest.fixture(scope="module")
def objects() -> tuple[list[dict], str, str]:
    """The objects that `ml cluster` makes itself, the release of charts/platform and its store's Secret."""
    ran = subprocess.run(
        [sys.executable, "-B", "-c", OBJECTS], cwd=TEMPLATE, capture_output=True, text=True, check=True
    )
    made, names = ran.stdout.splitlines()
    return json.loads(made), *names.split()


@pytest.fixture(scope="module")
def values() -> dict:
    """The values of the environment kind, with what `ml cluster deploy` adds to them."""
    return yaml.safe_load(KIND.read_text()) | {"images": {"serving": IMAGE}, "release": f"champion: {SHA256}\n"}


def test_the_environment_kind_is_one_that_the_chart_takes(values):
    manifests = render(CHARTS / "serving", values)
    deployment = one(manifests, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE
    assert deployment["spec"]["replicas"] > 1  # else nothing could be rolled without loss
    assert {port["port"] for port in one(manifests, "Service")["spec"]["ports"]} == {80, 3001}


def test_the_rehearsal_can_tell_the_service_to_live_in_simulated_time(values):
    told = {"settings": {"ML_SERVE_CLOCK": "simulated"}, "testAt": "2013-06-24T00:00:00Z"}
    manifests = render(CHARTS / "serving", values | told)
    told = [each["data"].get("ML_SERVE_CLOCK") for each in manifests if each["kind"] == "ConfigMap"]
    assert "simulated" in told


def test_service_and_store_meet_the_platform_by_name(values, objects):
    _, platform, secret = objects
    for manifest in (manifests := render(CHARTS / "platform", {})):
        manifest["metadata"]["name"] = manifest["metadata"]["name"].replace("project", platform)
    redis = urlsplit(values["online"]["url"])
    assert one(manifests, "Service", redis.hostname)["spec"]["ports"][0]["port"] == redis.port
    store = one(manifests, "Service", f"{platform}-s3")["spec"]["ports"][0]["port"]
    assert (values["store"]["port"], values["store"]["secret"]) == (store, secret)
    told = yaml.safe_load((CHARTS / "platform" / "values.yaml").read_text())
    assert told["s3"]["secret"] == secret
    (keys,) = [each["stringData"] for each in objects[0] if each["kind"] == "Secret"]
    assert keys["FSSPEC_S3_ENDPOINT_URL"] == f"http://{platform}-s3:{store}"
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} < set(keys)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_put_into_the_cluster_is_valid_kubernetes(objects, version):
    assert [each["kind"] for each in objects[0]] == ["Namespace", "Secret", "ConfigMap", "Job"]
    for each in objects[0]:
        assert kubernetes_validate.validate(each, version, strict=True) == version


def test_the_load_may_run_in_a_namespace_of_restricted_pods_and_is_let_in(objects, values):
    ((_, labels, pod),) = pods(objects[0])
    assert violations(pod) == []
    assert values.get("network") is None  # so that the chart's default lets all pods of the namespace ask
    clients = yaml.safe_load((CHARTS / "serving" / "values.yaml").read_text())["network"]["clients"]
    assert clients == [{"podSelector": {}}]
    closed = one(render(CHARTS / "serving", values), "NetworkPolicy", "project-closed")["spec"]["podSelector"]
    assert not closed["matchLabels"].items() <= labels.items()  # so that nothing keeps it from asking


def test_the_pinned_node_images_are_the_same_wherever_they_are_named():
    pinned = re.compile(r"kindest/node:v[\d.]+@sha256:[0-9a-f]{64}")
    workflow = pinned.findall((TEMPLATE / ".github" / "workflows" / "cluster.yml").read_text())
    assert {image.rpartition(".")[0] for image in workflow} >= {f"kindest/node:v{VERSIONS[0]}"}
    assert set(pinned.findall((TEMPLATE.parent / "docs" / "cluster.md").read_text())) <= set(workflow)
