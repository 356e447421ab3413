"""An upgrade from the last version of a chart asks nothing that Kubernetes refuses, and takes no name away.

`tests/golden/charts.yaml` keeps what nobody can change of the objects that the last versions made, by scenario. It is
written anew once these versions are out, and before the next ones are begun.
"""

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from chart_rendering import CHARTS, CUSTOM, NAMES, SCENARIOS, knowing, render

LAST = Path(__file__).parent / "golden" / "charts.yaml"
KEEP = "PYTHONPATH=tests python -c 'import test_chart_upgrade; test_chart_upgrade.keep()'"

# Of a StatefulSet Kubernetes lets these be changed, and nothing else.
CHANGED_IN_PLACE = {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "minReadySeconds"}
CHANGED_IN_PLACE |= {"persistentVolumeClaimRetentionPolicy"}


def fixed(manifest: dict) -> dict:
    """Return what Kubernetes refuses to change of an object, or what would orphan its pods; empty where nothing is."""
    spec, kind = manifest.get("spec", {}), manifest["kind"]
    if kind in ("Deployment", "Rollout"):
        return {"selector": spec["selector"]}
    if kind == "StatefulSet":
        return {key: value for key, value in spec.items() if key not in CHANGED_IN_PLACE}
    if kind == "Service":
        return {"clusterIP": spec.get("clusterIP", "")}
    if kind == "RoleBinding":
        return {"roleRef": manifest["roleRef"]}
    if manifest.get("immutable"):
        return {"data": hashlib.sha256(json.dumps(manifest["data"], sort_keys=True).encode()).hexdigest()}
    return {}


def objects(manifests: list[dict]) -> dict[str, dict]:
    """Return the objects of which something is fixed, by kind and name."""
    named = {f"{each['kind']}/{each['metadata']['name']}": fixed(each) for each in manifests}
    return {name: what for name, what in named.items() if what}


def version(chart: str) -> str:
    return yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())["version"]


def content(chart: str) -> str:
    """Return the sum over all that a chart installs or refuses; its examples and its version are no part of that."""
    paths = [path.relative_to(CHARTS) for path in sorted((CHARTS / chart).rglob("*")) if path.is_file()]
    told = [path for path in paths if path.name != "Chart.yaml" and path.parts[1] != "ci"]
    sums = [(str(path), hashlib.sha256((CHARTS / path).read_bytes()).hexdigest()) for path in told]
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()


def keep() -> None:
    """Write the charts down as they are now."""
    with TemporaryDirectory() as folder:
        charts = knowing(Path(folder), CUSTOM)
        made = {name: objects(render(charts / each.chart, each.values)) for name, each in SCENARIOS.items()}
    lines = ["versions:"]
    lines += [f"  {chart}: {json.dumps({'version': version(chart), 'content': content(chart)})}" for chart in NAMES]
    lines += ["objects:"]
    for scenario, found in made.items():
        lines += [f"  {scenario}:", *(f"    {name}: {json.dumps(what)}" for name, what in sorted(found.items()))]
    LAST.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def last() -> dict:
    return yaml.safe_load(LAST.read_text())


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_the_last_version_made_is_still_there_with_all_that_nobody_can_change(rendered, last, name):
    now = objects(rendered[name])
    for each, what in last["objects"].get(name, {}).items():
        if each in now or not each.startswith("ConfigMap/"):  # an immutable one is named after its content
            assert now.get(each) == what, f"{each}: an upgrade would be refused, or take it away"


@pytest.mark.parametrize("chart", NAMES)
def test_a_chart_that_has_changed_has_another_version(last, chart):
    if version(chart) == last["versions"][chart]["version"]:
        assert content(chart) == last["versions"][chart]["content"], "raise the version in its Chart.yaml"


def test_the_last_versions_are_kept_whole(last):
    """Else nothing would be compared."""
    kinds = {each.partition("/")[0] for found in last["objects"].values() for each in found}
    assert kinds == {"ConfigMap", "Deployment", "RoleBinding", "Rollout", "Service", "StatefulSet"}, KEEP
    assert set(last["versions"]) == set(NAMES)
