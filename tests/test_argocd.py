"""The ApplicationSet of docs/argocd.yaml: an Application for each environment, of what `ml deploy` would install."""

import fnmatch
import shutil
from pathlib import Path

import pytest
import yaml
from chart_rendering import CHARTS, changed, containers, one, pods, render
from conftest import TEMPLATE

ASKED = yaml.safe_load((CHARTS.parent / "docs" / "argocd.yaml").read_text())
SPEC = ASKED["spec"]
ROLES = ("serving", "training", "stream")
IMAGES = {role: f"registry.example/project-{role}@sha256:{len(role):064x}" for role in ROLES}
RELEASE = "# What runs here. Changed only by pull request; to roll back, revert it.\nchampion: " + "a" * 64 + "\n"
VALUES = {"store": {"url": "s3://bucket/prefix", "secret": "ml-store"}, "online": {"url": "redis://redis:6379/0"}}


@pytest.fixture
def repository(tmp_path):
    """A repository in which two environments are deployed to, one has no release yet, and three are of one machine."""
    shutil.copytree(CHARTS, tmp_path / "charts")
    for name, images in {"staging": IMAGES, "production": {"serving": IMAGES["serving"]}}.items():
        wrote(tmp_path, name, "values.yaml", yaml.safe_dump({**VALUES, "environment": name, "secrets": "ml-secrets"}))
        wrote(tmp_path, name, "release.yaml", RELEASE + yaml.safe_dump({"images": images}))
    wrote(tmp_path, "next", "values.yaml", yaml.safe_dump(VALUES))
    for name in ("laptop", "demo", "kind"):
        wrote(tmp_path, name, "release.yaml", RELEASE)
    wrote(tmp_path, "kind", "values.yaml", yaml.safe_dump(VALUES))
    return tmp_path


def wrote(repository, environment, name, text):
    file = repository / "environments" / environment / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def generated(repository):
    """Return what the generator makes of a repository: the parameters of each file that it matches and selects."""
    (generator,) = SPEC["generators"]
    (asked,) = generator["git"]["files"]
    ((key, operator, values),) = [tuple(each.values()) for each in generator["selector"]["matchExpressions"]]
    assert (key, operator) == ("path.basename", "NotIn")
    files = [path.relative_to(repository).as_posix() for path in sorted(repository.rglob("*")) if path.is_file()]
    for name in fnmatch.filter(files, asked["path"]):
        folder = Path(name).parent
        if folder.name not in values:
            told = yaml.safe_load((repository / name).read_text())
            yield told | {"path": {"path": folder.as_posix(), "basename": folder.name, "filename": Path(name).name}}


def application(parameters, folder):
    """Return the Application that the template makes of parameters, by the functions that Argo CD has as well."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: application, version: 1.0.0}")
    template = {"kind": "Application", "apiVersion": "argoproj.io/v1alpha1", **SPEC["template"]}
    text = yaml.safe_dump(template, width=1000)
    (folder / "templates" / "application.yaml").write_text("{{- with .Values.given }}\n" + text + "{{- end }}\n")
    (found,) = render(folder, {"given": parameters})
    return found


def test_there_is_an_application_for_each_environment_that_is_deployed_to_and_for_no_other(repository):
    assert [each["path"]["basename"] for each in generated(repository)] == ["production", "staging"]


def test_what_the_project_brings_is_of_single_machines_and_makes_no_application(tmp_path):
    shutil.copytree(TEMPLATE / "environments", tmp_path / "environments")
    for folder in (tmp_path / "environments").iterdir():
        wrote(tmp_path, folder.name, "release.yaml", RELEASE)
    assert list(generated(tmp_path)) == []


def test_every_application_installs_what_the_environment_holds(repository, tmp_path):
    for parameters in generated(repository):
        name = parameters["path"]["basename"]
        made = application(parameters, tmp_path / "argo" / name)
        source, helm = made["spec"]["source"], made["spec"]["source"]["helm"]
        at = repository / source["path"]
        (values,) = [yaml.safe_load((at / each).read_text()) for each in helm["valueFiles"]]
        ((key, path),) = [(each["name"], each["path"]) for each in helm["fileParameters"]]
        assert key == "release"
        values |= {"release": (at / path).read_text(), "images": {}}
        for each in helm["parameters"]:
            table, role = each["name"].split(".")
            values = changed(values, {table: {role: each["value"]}})
        told = (repository / "environments" / name / "release.yaml").read_text()
        images = yaml.safe_load(told)["images"]
        assert values["images"] == dict.fromkeys(ROLES, "") | images
        manifests = render(at, values)
        assert one(manifests, "ConfigMap", "project-release")["data"]["release.yaml"] == told
        running = {each["image"] for _, _, pod in pods(manifests) for each in containers(pod)}
        assert running == {images["serving"]}
        assert made["metadata"]["name"] == f"serving-{name}"
        assert made["spec"]["destination"]["namespace"] == name


def test_the_two_addresses_are_one_and_every_role_has_its_image():
    (generator,) = SPEC["generators"]
    assert generator["git"]["repoURL"] == SPEC["template"]["spec"]["source"]["repoURL"]
    named = [each["name"] for each in SPEC["template"]["spec"]["source"]["helm"]["parameters"]]
    defaults = yaml.safe_load((CHARTS / "serving" / "values.yaml").read_text())
    assert sorted(named) == sorted(f"images.{role}" for role in defaults["images"])
