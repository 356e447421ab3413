"""The chart, rendered by Helm itself: it refuses wrong values, and its pods fit a hardened cluster."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import helm_python as helm
import kubernetes_validate
import pytest
import yaml

CHART = Path(__file__).parents[1] / "charts/serving"
SCENARIOS = {path.stem.removesuffix("-values"): yaml.safe_load(path.read_text()) for path in (CHART / "ci").iterdir()}
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
OLDEST, NEWEST = "1.33", "1.37"
SHA256 = "0123456789abcdef" * 4
WRONG = {
    "a misspelt key": ({"replica": 3}, "'replica' not allowed"),
    "a misspelt key below": ({"image": {"digests": ""}}, "'digests' not allowed"),
    "an image digest without its algorithm": ({"image": {"digest": SHA256}}, "'/image/digest'"),
    "an image digest that is cut": ({"image": {"digest": f"sha256:{SHA256[:-1]}"}}, "'/image/digest'"),
    "no digest and no tag": ({"image": {"digest": ""}}, "'/image/digest'"),
    "a digest and a tag": ({"image": {"tag": "latest"}}, "'/image/digest'"),
    "a tag with a space": ({"image": {"digest": "", "tag": "a b"}}, "'/image/tag'"),
    "a tag in the repository": ({"image": {"repository": "registry.example/ml:1"}}, "'/image/repository'"),
    "a bundle with a prefix": ({"bundle": f"sha256:{SHA256}"}, "'/bundle'"),
    "a bundle that is cut": ({"bundle": SHA256[:12]}, "'/bundle'"),
    "an environment with a capital": ({"environment": "eU"}, "'/environment'"),
    "an environment with a digit first": ({"environment": "2nd"}, "'/environment'"),
    "no pods": ({"replicas": 0}, "'/replicas'"),
    "CPU as a word": ({"cpu": "two"}, "'/cpu'"),
    "memory in thousandths of a byte": ({"memory": "512m"}, "'/memory'"),
    "a store without a unit": ({"eventsSize": "1024"}, "'/eventsSize'"),
}


def render(values: dict) -> list[dict]:
    with helm.Chart.load(CHART) as chart:
        files = chart.render(values, name="flights", namespace="ml")
    return [yaml.safe_load(text) for name, text in files.items() if name.endswith(".yaml")]


@pytest.fixture(params=SCENARIOS, scope="module")
def release(request):
    """What one scenario's values come to: the manifests by kind, and the parts that most tests look at."""
    it = SimpleNamespace(given=SCENARIOS[request.param])
    it.kinds = {manifest["kind"]: manifest for manifest in render(it.given)}
    it.deployment = it.kinds["Deployment"]["spec"]
    it.pod = it.deployment["template"]["spec"]
    (it.container,) = it.pod["containers"]
    it.env = {variable["name"]: variable["value"] for variable in it.container["env"]}
    return it


def leaves(tree: dict, prefix: str = "", below: str | None = None) -> dict:
    """Dotted path -> what stands there; `below` is the key under which a schema nests (none for values)."""
    found = {}
    for key, node in (tree[below] if below else tree).items():
        nested = isinstance(node, dict) and (not below or below in node)
        found |= leaves(node, f"{prefix}{key}.", below) if nested else {f"{prefix}{key}": node}
    return found


def test_helm_lint_finds_no_error_and_no_warning(release):
    report = helm.lint(CHART, release.given, strict=True)
    assert [found for found in report["messages"] if found["severity"] > 1] + report["errors"] == []


def test_the_chart_refuses_a_cluster_older_than_those_it_is_checked_for():
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"] == f">={OLDEST}.0-0"


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_manifest_is_valid_kubernetes(release, version):
    assert sorted(release.kinds) == ["Deployment", "Service", "ServiceAccount"]
    for manifest in release.kinds.values():
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_the_defaults_alone_are_refused_and_every_missing_value_is_named():
    with pytest.raises(helm.HelmValuesError) as refusal:
        render({})
    named = set(re.findall(r"at '/([\w/]+)'", str(refusal.value)))
    assert named - {"image"} == {"environment", "bundle", "image/repository", "image/digest"}


@pytest.mark.parametrize(("change", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_refused_by_name(change, named):
    right = SCENARIOS["production"]
    wrong = right | change | {"image": right["image"] | change.get("image", {})}
    with pytest.raises(helm.HelmValuesError, match=re.escape(named)):
        render(wrong)


def test_values_schema_and_templates_know_the_same_values_and_each_is_explained():
    text = (CHART / "values.yaml").read_text()
    templates = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    actions = "".join(re.findall(r"\{\{.*?\}\}", templates))
    schema = leaves(json.loads((CHART / "values.schema.json").read_text()), below="properties")
    assert set(re.findall(r"\.Values\.([\w.]+)", actions)) == set(schema) == set(leaves(DEFAULTS))
    for path, rule in schema.items():
        assert rule["description"].endswith("."), f"values.schema.json does not say what {path} is"
        explained = re.search(rf"^ *# -- .+\.\n *{path.split('.')[-1]}:", text, re.MULTILINE)
        assert explained, f"values.yaml does not say what {path} is"


def test_the_chart_is_pure_helm():
    assert not [path for path in CHART.rglob("*") if path.is_file() and "cookiecutter" in path.read_text()]


def test_pods_satisfy_the_restricted_profile(release):
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(release.pod)
    assert all(set(volume) == {"name", "emptyDir"} for volume in release.pod["volumes"])
    assert all("hostPort" not in port for port in release.container["ports"])
    user = {"runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001}
    profile = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert release.pod["securityContext"] == user | profile
    locked = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
    assert release.container["securityContext"] == locked | {"capabilities": {"drop": ["ALL"]}}


def test_pods_get_no_token_and_no_addresses_of_other_services(release):
    assert release.pod["serviceAccountName"] == release.kinds["ServiceAccount"]["metadata"]["name"]
    assert release.kinds["ServiceAccount"]["automountServiceAccountToken"] is False
    assert release.pod["automountServiceAccountToken"] is release.pod["enableServiceLinks"] is False


def test_the_image_and_the_bundle_that_were_given_are_what_runs(release):
    image = release.given["image"]
    name = f"@{image['digest']}" if "digest" in image else f":{image['tag']}"
    assert release.container["image"] == image["repository"] + name
    assert release.deployment["template"]["metadata"]["annotations"] == {"ml/bundle": release.given["bundle"]}
    assert release.env["ML_RELEASE_BUNDLE"] == release.given["bundle"]
    assert release.env["ML_RELEASE_ENVIRONMENT"] == release.given["environment"]


def test_sizes_are_as_given_memory_is_guaranteed_and_cpu_is_not_throttled(release):
    given = DEFAULTS | release.given
    assert release.deployment["replicas"] == given["replicas"]
    assert release.container["resources"] == {
        "requests": {"cpu": given["cpu"], "memory": given["memory"]},
        "limits": {"memory": given["memory"]},
    }


def test_everything_the_service_writes_lies_on_a_bounded_volume(release):
    volumes = {volume["name"]: volume["emptyDir"]["sizeLimit"] for volume in release.pod["volumes"]}
    mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in release.container["volumeMounts"]}
    assert set(mounted) == {"/var/ml/state", release.env["BENTOML_HOME"], "/tmp"}
    assert mounted["/var/ml/state"] == (DEFAULTS | release.given)["eventsSize"]
    written = ("ML_EVENTS_URL", "ML_EVENTS_SPOOL", "ML_ONLINE_URL", "ML_SERVE_SECRETS")
    assert all(release.env[name].startswith("/var/ml/state/") for name in written)


def test_nothing_phones_home_and_a_dead_worker_ends_the_pod(release):
    quiet = {"BENTOML_DO_NOT_TRACK": "True", "ORT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "true"}
    assert release.env.items() >= (quiet | {"BENTOML_CONTAINERIZED": "1"}).items()


def test_probes_and_service_reach_the_port_that_the_process_opens(release):
    paths = {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    for probe, path in paths.items():
        assert release.container[probe]["httpGet"] == {"path": path, "port": "http"}
    assert release.container["args"] == ["serve", "--host", "0.0.0.0", "--port", "3000"]
    assert release.container["ports"] == [{"name": "http", "containerPort": 3000}]
    service, labels = release.kinds["Service"]["spec"], release.deployment["template"]["metadata"]["labels"]
    assert [port["targetPort"] for port in service["ports"]] == ["http"]
    assert service["selector"] == release.deployment["selector"]["matchLabels"] == labels


def test_a_rollout_takes_no_pod_away_before_its_requests_are_answered(release):
    drain = int(next(each["value"] for each in release.container["env"] if each["name"] == "ML_SERVE_DRAIN_SECONDS"))
    startup = release.container["startupProbe"]
    assert drain >= 5
    assert release.pod["terminationGracePeriodSeconds"] >= drain + 30
    assert release.deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert 120 <= startup["periodSeconds"] * startup["failureThreshold"] < 600  # Kubernetes gives up at 600 s


def test_pods_spread_over_zones_and_nodes(release):
    spread = {rule["topologyKey"]: rule for rule in release.pod["topologySpreadConstraints"]}
    assert set(spread) == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert all(rule["labelSelector"] == release.deployment["selector"] for rule in spread.values())
