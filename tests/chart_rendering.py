"""Renders the charts as Helm does, and finds the pods in what comes out."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import helm_python as helm
import yaml

CHARTS = Path(__file__).parents[1] / "charts"
NAMES = sorted(path.name for path in CHARTS.iterdir())
VERSIONS = [f"1.{minor}" for minor in range(33, 38)]
CUSTOM = {"argoproj.io/v1alpha1", "gateway.networking.k8s.io/v1", "keda.sh/v1alpha1", "monitoring.coreos.com/v1"}
SHA256 = "0123456789abcdef" * 4
NAME, NAMESPACE = "project", "ml"


class Scenario(NamedTuple):
    """A chart, and values for it."""

    chart: str
    values: dict


SCENARIOS = {
    f"{chart}/{path.stem.removesuffix('-values')}": Scenario(chart, yaml.safe_load(path.read_text()))
    for chart in NAMES
    for path in sorted((CHARTS / chart / "ci").iterdir())
}

SERVING = sorted(name for name in SCENARIOS if name.startswith("serving/"))


def knowing(folder: Path, apis: set[str]) -> Path:
    """Copy the charts into a folder, as a cluster that has these custom resources would let them be rendered.

    Helm without a cluster knows none, and its Python binding cannot be told; test_helm_binaries tells the real one.
    """
    shutil.copytree(CHARTS, folder, dirs_exist_ok=True)
    known = " ".join(f'"{api}"' for api in sorted(apis))
    define = f'{{{{- define "serving.knows" -}}}}{{{{ if has .api (list {known}) }}}}yes{{{{ end }}}}{{{{- end }}}}'
    (folder / "serving" / "templates" / "_capabilities.tpl").write_text(define)
    return folder


def files(chart: Path, values: dict) -> dict[str, str]:
    """Return what a chart's templates make of values, by their names; raises helm.HelmError."""
    with helm.Chart.load(chart) as loaded:
        return loaded.render(values, name=NAME, namespace=NAMESPACE)


def render(chart: Path, values: dict) -> list[dict]:
    """Return the manifests that a chart makes of values; raises helm.HelmError."""
    texts = [text for name, text in files(chart, values).items() if name.endswith(".yaml")]
    return [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]


def notes(charts: Path, name: str, change: dict) -> str:
    """Return what Helm tells who installs a scenario whose values are changed."""
    chart, values = SCENARIOS[name]
    return files(charts / chart, changed(values, change))[f"{chart}/templates/NOTES.txt"]


def changed(values: dict, change: dict) -> dict:
    """Return values with a change laid over them, table by table."""
    laid = {
        key: changed(values[key], new) if isinstance(new, dict) and isinstance(values.get(key), dict) else new
        for key, new in change.items()
    }
    return values | laid


def one(manifests: list[dict], kind: str, name: str = NAME) -> dict:
    """Return the one manifest of a kind and a name."""
    (found,) = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pods(manifests: list[dict]) -> Iterator[tuple[str, dict, dict]]:
    """Yield who makes a pod, the pod's labels and its spec."""
    for manifest in manifests:
        who = f"{manifest['kind']}/{manifest['metadata']['name']}"
        if manifest["kind"] == "Pod":
            yield who, manifest["metadata"].get("labels", {}), manifest["spec"]
            continue
        spec = manifest.get("spec", {})
        template = (spec.get("jobTemplate", {}).get("spec") or spec).get("template")
        if template:
            yield who, template["metadata"].get("labels", {}), template["spec"]


def selects(selector: dict, labels: dict) -> bool:
    """Say whether a selector of labels takes a pod; an empty one takes every."""
    wanted = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    for each in selector.get("matchExpressions", []):
        assert each["operator"] in ("In", "Exists")
        there = each["key"] in labels
        wanted = wanted and there and (each["operator"] == "Exists" or labels[each["key"]] in each["values"])
    return wanted


def containers(pod: dict) -> list[dict]:
    """Return all containers of a pod, whenever they run."""
    return [each for key in ("initContainers", "containers", "ephemeralContainers") for each in pod.get(key, [])]


def given(name: str) -> dict:
    """Return a scenario's values, those that it leaves open included."""
    defaults = yaml.safe_load((CHARTS / "serving" / "values.yaml").read_text())
    return changed(defaults, SCENARIOS[name].values)


def workload(manifests: list[dict]) -> dict:
    """Return what makes the pods that serve."""
    (found,) = [
        each for each in manifests if each["kind"] in ("Deployment", "Rollout") and each["metadata"]["name"] == NAME
    ]
    return found


def serving(manifests: list[dict]) -> tuple[dict, dict]:
    """Return the pod that serves, and its one container."""
    pod = workload(manifests)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def settings(manifests: list[dict]) -> dict:
    """Return the ConfigMap of settings."""
    (found,) = [each for each in manifests if "-settings-" in each["metadata"]["name"]]
    return found


def with_other(charts: Path, name: str, change: dict) -> list[dict]:
    """Return the manifests of a scenario whose values are changed."""
    return render(charts / SCENARIOS[name].chart, changed(SCENARIOS[name].values, change))
