"""All charts, rendered by Helm itself: valid on each version of Kubernetes, restricted, documented, and pure Helm."""

import json
import re
from copy import deepcopy

import helm_python as helm
import kubernetes_validate
import pytest
import yaml
from chart_rendering import CHARTS, CUSTOM, NAMES, SCENARIOS, VERSIONS, containers, notes, pods
from conftest import ROOT
from custom_resources import shared
from pod_security import violations

PAGE = ROOT / "docs" / "charts.md"
WRITE_PAGE = "PYTHONPATH=tests python -c 'import test_charts; test_charts.PAGE.write_text(test_charts.page())'"
OWN = re.compile(r"\.Values\.(\w+(?:\.\w+)*)")


def text_of(chart: str) -> str:
    """Return all that is a template of a chart."""
    files = [*(CHARTS / chart / "templates").rglob("*.*"), *(CHARTS / chart).glob("rules.yaml")]
    return "".join(path.read_text() for path in files)


def documented(chart: str) -> list[tuple[str, str]]:
    """Return each value's dotted path and what values.yaml says of it, in its order."""
    found, path, said = [], [], None
    for line in (CHARTS / chart / "values.yaml").read_text().splitlines():
        if comment := re.match(r" *# -- (.+)", line):
            said = comment[1]
        elif key := re.match(r"( *)(\w+):", line):
            path = [*path[: len(key[1]) // 2], key[2]]
            if said:
                found.append((".".join(path), said))
            said = None
    return found


def default(chart: str, path: str) -> str:
    """Return a value's default as it would be written."""
    found = yaml.safe_load((CHARTS / chart / "values.yaml").read_text())
    for key in path.split("."):
        found = found[key]
    return json.dumps(found) if found != "" else ""


def rules(schema: dict, path: str = "") -> dict:
    """Return the rule of each value by its dotted path; a table is nested unless any key may stand in it."""
    found = {}
    for key, rule in schema["properties"].items():
        nested = "properties" in rule
        found |= rules(rule, f"{path}{key}.") if nested else {f"{path}{key}": rule}
    return found


def schema(chart: str) -> dict:
    return json.loads((CHARTS / chart / "values.schema.json").read_text())


def page() -> str:
    """Return the page that lists all values."""
    head = "Written from `charts/*/values.yaml` by a test; [kubernetes.md](kubernetes.md) says how they are used."
    parts = [f"# The charts' values\n\n{head}\n"]
    for chart in NAMES:
        about = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
        rows = [f"| `{path}` | {cell(default(chart, path))} | {said} |" for path, said in documented(chart)]
        head = (
            f"\n## {chart} {about['version']}\n\n{about['description']}\n\n| value | default | what |\n|---|---|---|\n"
        )
        parts.append(head + "\n".join(rows) + "\n")
    return "".join(parts)


def cell(text: str) -> str:
    return f"`{text}`" if text else ""


@pytest.mark.parametrize("name", SCENARIOS)
def test_helm_lint_finds_no_error_and_no_warning(name):
    report = helm.lint(CHARTS / SCENARIOS[name].chart, SCENARIOS[name].values, strict=True, kube_version=VERSIONS[0])
    assert [found for found in report["messages"] if found["severity"] > 1] + report["errors"] == []


@pytest.mark.parametrize("chart", NAMES)
def test_a_chart_refuses_a_cluster_older_than_those_it_is_checked_for(chart):
    about = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
    assert about["kubeVersion"] == f">={VERSIONS[0]}.0-0"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_kubernetes_and_has_no_key_too_much(rendered, version):
    seen = {}
    for name, manifests in rendered.items():
        known = [shared(each) if each["apiVersion"] in CUSTOM else each for each in manifests]
        seen |= {json.dumps(each, sort_keys=True): name for each in known}
    assert len(seen) > 90
    for text, name in seen.items():
        assert kubernetes_validate.validate(json.loads(text), version, strict=True) == version, name


def test_the_platforms_images_are_named_by_what_they_are():
    values = yaml.safe_load((CHARTS / "platform" / "values.yaml").read_text())
    images = [part["image"] for part in values.values() if isinstance(part, dict)]
    assert len(images) == 3
    for image in images:
        assert re.fullmatch(r"[a-z/]+:v?[0-9.]+(-alpine)?@sha256:[0-9a-f]{64}", image)


def test_every_manifest_is_of_this_release_and_no_name_comes_twice(rendered):
    for name, manifests in rendered.items():
        named = [(each["kind"], each["metadata"]["name"]) for each in manifests]
        assert len(named) == len(set(named)), name
        assert {each["metadata"]["labels"]["app.kubernetes.io/instance"] for each in manifests} == {"project"}


def test_every_pod_passes_the_restricted_standard(rendered):
    found = {f"{name} {who}": violations(pod) for name, each in rendered.items() for who, _, pod in pods(each)}
    assert len(found) > 30
    assert {who: what for who, what in found.items() if what} == {}


BREACHES = {
    "hostNetwork is set": lambda pod, _: pod.update(hostNetwork=True),
    "is of a kind that is not allowed": lambda pod, _: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "sysctls are set": lambda pod, _: pod["securityContext"].update(sysctls=[{"name": "x", "value": "1"}]),
    "runAsUser is root": lambda pod, _: pod["securityContext"].update(runAsUser=0),
    "runAsNonRoot is not set": lambda pod, _: pod["securityContext"].pop("runAsNonRoot"),
    "has no seccomp profile": lambda pod, _: pod["securityContext"].pop("seccompProfile"),
    "is privileged": lambda _, own: own["securityContext"].update(privileged=True),
    "may gain privileges": lambda _, own: own["securityContext"].pop("allowPrivilegeEscalation"),
    "has capabilities": lambda _, own: own["securityContext"]["capabilities"].update(add=["NET_RAW"]),
    "has a procMount": lambda _, own: own["securityContext"].update(procMount="Unmasked"),
    "has a port of the host": lambda _, own: own["ports"][0].update(hostPort=80),
    "startupProbe asks another host": lambda _, own: own["startupProbe"]["httpGet"].update(host="10.0.0.1"),
    "has an SELinux context": lambda _, own: own["securityContext"].update(seLinuxOptions={"type": "spc_t"}),
    "has no AppArmor profile": lambda _, own: own["securityContext"].update(appArmorProfile={"type": "Unconfined"}),
}


@pytest.mark.parametrize("said", BREACHES)
def test_the_restricted_standard_is_seen_to_be_broken(rendered, said):
    _, _, pod = next(pods([each for each in rendered["serving/kind"] if each["kind"] == "Deployment"]))
    pod = deepcopy(pod)
    BREACHES[said](pod, pod["containers"][0])
    assert any(said in found for found in violations(pod))


def test_every_container_is_bounded_cannot_write_and_is_not_throttled(rendered):
    for name, manifests in rendered.items():
        for who, _, pod in pods(manifests):
            assert pod["enableServiceLinks"] is False, f"{name} {who}"
            for each in containers(pod):
                assert each["securityContext"]["readOnlyRootFilesystem"] is True, f"{name} {who}"
                resources = each["resources"]
                assert resources["requests"]["cpu"], f"{name} {who}"
                assert resources["limits"] == {"memory": resources["requests"]["memory"]}, f"{name} {who}"
            for volume in pod["volumes"]:
                assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""}), f"{name} {who}"


def test_no_pod_gets_a_token_of_kubernetes_but_who_asks_it_for_pods(rendered):
    for manifests in rendered.values():
        accounts = [each for each in manifests if each["kind"] == "ServiceAccount"]
        assert not any(each["automountServiceAccountToken"] for each in accounts)
        for who, _, pod in pods(manifests):
            assert pod["automountServiceAccountToken"] is (who == "Deployment/project-prometheus")


def test_no_rights_are_wide(rendered):
    rights = [rule for each in rendered.values() for role in each if role["kind"] == "Role" for rule in role["rules"]]
    assert rights
    for rule in rights:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert rule["resources"] != ["secrets"] or rule["resourceNames"]
    assert not [each for made in rendered.values() for each in made if each["kind"].startswith("Cluster")]


@pytest.mark.parametrize("chart", NAMES)
def test_values_schema_and_templates_know_the_same_values(chart):
    names, text = [path for path, _ in documented(chart)], text_of(chart)
    assert names == list(rules(schema(chart)))
    for used in OWN.findall(text):
        assert any(name == used or name.startswith(f"{used}.") for name in names), f"{used} is read and does not exist"
    for name in names:
        table, _, key = name.rpartition(".")
        by_table = table and re.search(rf"with \.Values\.{table}\b", text) and re.search(rf"\.{key}\b", text)
        assert re.search(rf"\.Values\.{name}\b", text) or by_table or f"$.Values.{name}" in text, (
            f"nothing reads {name}"
        )


@pytest.mark.parametrize("chart", NAMES)
def test_a_value_is_explained_once_and_read_by_editors_too(chart):
    for path, said in documented(chart):
        assert rules(schema(chart))[path]["description"] == said
        assert said.endswith("."), path


@pytest.mark.parametrize("chart", NAMES)
def test_no_table_of_values_takes_a_key_that_nothing_reads(chart):
    tables = [schema(chart)]
    while tables:
        table = tables.pop()
        assert table["additionalProperties"] is False
        assert sorted(table["required"]) == sorted(table["properties"])
        tables += [rule for rule in table["properties"].values() if "properties" in rule]


def test_the_page_of_values_is_that_of_the_charts():
    assert PAGE.read_text() == page(), f"write it anew: {WRITE_PAGE}"


@pytest.mark.parametrize("chart", NAMES)
def test_a_chart_is_pure_helm_and_tells_what_to_do_next(chart):
    files = [path for path in (CHARTS / chart).rglob("*") if path.is_file()]
    assert not [path for path in files if "cookiecutter" in path.read_text()]
    assert (CHARTS / chart / "templates" / "NOTES.txt") in files


def test_who_installs_training_is_told_whose_the_secrets_that_pull_are_not(charts):
    patch = "kubectl --namespace ml patch serviceaccount {} --patch '{{\"imagePullSecrets\": [{}]}}'"
    told = notes(charts, "training/profile", {})
    assert all(patch.format(account, '{"name": "registry"}') in told for account in ("default-editor", "default"))
    assert told.count("patch serviceaccount") == 2, "one for steps, one for the nodes of a TrainJob"
    two = notes(charts, "training/profile", {"pullSecrets": ["a", "b"], "kubeflow": {"trainer": False}})
    assert patch.format("default-editor", '{"name": "a"}, {"name": "b"}') in two
    assert two.count("patch serviceaccount") == 1
    assert "serviceaccount" not in notes(charts, "training/kind", {})
