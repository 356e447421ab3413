"""What a cluster is asked before an environment is deployed to it: what its values.yaml takes for granted."""

import json
from functools import partial
from typing import Any, NamedTuple

import yaml

from ml.cluster.command import ask
from ml.cluster.machine import has_tool
from ml.cluster.target import ENFORCED, Target
from ml.doctor.check import Check, Doubt
from ml.errors import ContractError
from ml.settings import settings

OLDEST, NEWEST = 33, 37  # minor versions that the charts were checked with

# What has to be installed for a value: where it stands, what it says, and the API by which the cluster knows it.
SWITCHES = (
    ("route.enabled", True, "gateway.networking.k8s.io/v1", "the Gateway API"),
    ("metrics.monitor", True, "monitoring.coreos.com/v1", "Prometheus' operator"),
    ("metrics.rules", True, "monitoring.coreos.com/v1", "Prometheus' operator"),
    ("autoscaling.by", "cpu", "metrics.k8s.io/v1beta1", "the metrics server"),
    ("autoscaling.by", "concurrency", "custom.metrics.k8s.io/v1beta1", "Prometheus' adapter"),
    ("autoscaling.by", "keda", "keda.sh/v1alpha1", "KEDA"),
    ("rollout.enabled", True, "argoproj.io/v1alpha1", "Argo Rollouts"),
)
SECRETS = ("secrets", "store.secret", "online.secret")
IMAGES = (  # and for which value each is needed
    ("images.serving", ()),
    ("images.training", ("monitor.enabled", "score.enabled", "rollout.enabled")),
    ("images.stream", ("stream.enabled",)),
)


class Asked(NamedTuple):
    """A cluster, and the values of the environment that is to be deployed to it."""

    target: Target
    values: dict[str, Any]

    def value(self, path: str) -> Any:
        """Return the value at a path with dots, None where the environment leaves it to the chart."""
        found: Any = self.values
        for key in path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return found


def checks(context: str | None, namespace: str | None) -> list[Check]:
    """Return what is asked of a cluster; by default the current one, and the namespace called after the project."""
    asked = Asked(_target(context, namespace), _values())
    each = (reachable, version, apis, restricted, secrets, images)
    return [partial(has_tool, "kubectl"), partial(has_tool, "helm"), *(partial(check, asked) for check in each)]


def reachable(asked: Asked) -> str:
    """Does the cluster answer?"""
    if ask(asked.target.kubectl("get", "--raw", "/readyz")) is None:
        mend = "kubectl config get-contexts lists them; choose one with --context, or run `ml cluster up`"
        raise ContractError("cluster", f"{asked.target.context or 'the current context'} does not answer", mend)
    return f"{asked.target.context or 'the current context'} answers"


def version(asked: Asked) -> str:
    """Is it a Kubernetes that the charts were checked with?"""
    told = json.loads(ask(asked.target.kubectl("version", "--output", "json")) or "{}").get("serverVersion")
    if not told:
        raise Doubt("Kubernetes", "its version is not known", "Mend what is wrong above")
    minor = int("".join(filter(str.isdigit, told["minor"])))  # clouds write 33+
    if int(told["major"]) == 1 and minor < OLDEST:
        raise ContractError("Kubernetes", f"{told['gitVersion']} is too old", f"Upgrade to 1.{OLDEST} or later")
    if minor > NEWEST:
        raise Doubt(
            "Kubernetes", f"{told['gitVersion']} is newer than the charts were checked with", "Try it elsewhere"
        )
    return f"Kubernetes {told['gitVersion']}"


def apis(asked: Asked) -> str:
    """Is everything installed that the values switch on?"""
    wanted = [(path, api, what) for path, on, api, what in SWITCHES if asked.value(path) == on]
    known = (ask(asked.target.kubectl("api-versions")) or "").split()
    if absent := [each for each in wanted if each[1] not in known]:
        broken = ", ".join(f"{path} needs {api}" for path, api, _ in absent)
        installed = " and ".join(dict.fromkeys(what for _, _, what in absent))
        raise ContractError("values", broken, f"Install {installed}, or switch it off")
    return f"{len(wanted)} switched-on values find what they need"


def restricted(asked: Asked) -> str:
    """Does the namespace refuse pods that are not restricted?"""
    target, name = asked.target, asked.target.namespace
    told = ask(target.kubectl("get", "namespace", name, "--output", "json"))
    if told is None:
        mend = f"kubectl create namespace {name} && kubectl label namespace {name} {ENFORCED}=restricted"
        raise ContractError("namespace", f"there is no {name}", mend)
    if json.loads(told)["metadata"].get("labels", {}).get(ENFORCED) != "restricted":
        mend = f"kubectl label --overwrite namespace {name} {ENFORCED}=restricted"
        raise ContractError("namespace", f"{name} takes pods that are not restricted", mend)
    return f"the namespace {name} takes restricted pods alone"


def secrets(asked: Asked) -> str:
    """Are the Secrets there that the values name?"""
    named = dict.fromkeys((name for name in map(asked.value, SECRETS) if name), "generic")
    named |= dict.fromkeys(asked.value("pullSecrets") or [], "docker-registry")
    if absent := [name for name in named if ask(asked.target.there("secret", name)) is None]:
        make = f"kubectl --namespace {asked.target.namespace} create secret {named[absent[0]]} {absent[0]} …"
        raise ContractError("secrets", f"there is no Secret {', '.join(absent)}", f"{make}, see docs/kubernetes.md")
    return f"{len(named)} secrets are there that {_file()} names"


def images(asked: Asked) -> str:
    """Is every image named by what it is, and not by a tag that may mean another one tomorrow?"""
    if asked.value("environment") == "kind":
        return "`ml cluster deploy` names images by digest"
    wanted = [path for path, switches in IMAGES if not switches or any(asked.value(each) for each in switches)]
    if open_ := [path for path in wanted if "@sha256:" not in (asked.value(path) or "")]:
        broken = ", ".join(f"{path} is {asked.value(path) or 'not set'}" for path in open_)
        mend = f"`ml image {open_[0].partition('.')[2]} --push` tells its digest: edit {_file()}"
        raise ContractError("images", f"{broken}, without a digest", mend)
    return "images are named by digest"


def _target(context: str | None, namespace: str | None) -> Target:
    slug = settings().project.slug
    return Target(context or "", namespace or slug, slug)


def _file() -> str:
    return str(settings().values_file)


def _values() -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(settings().values_file.read_text()))
    except (OSError, yaml.YAMLError, TypeError) as error:
        mend = "Name an environment that has one: ML_RELEASE_ENVIRONMENT=kind"
        why = getattr(error, "strerror", None) or error
        raise ContractError("values", f"{_file()} cannot be read: {why}", mend) from error
