"""Makes and ends the project's cluster on this machine; both can be repeated.

What is there already is looked at first, and not made twice. No other cluster is touched: every command names the
context of the one that is called after the project.
"""

import json
import secrets
import shutil
from typing import Any

from ml.cluster import machine
from ml.cluster.command import Command, ask, run
from ml.cluster.kind import Kind
from ml.cluster.minikube import Minikube
from ml.cluster.profile import PROFILES
from ml.cluster.target import PROFILE, Target
from ml.doctor.check import examine
from ml.errors import ContractError
from ml.progress import say
from ml.settings import ROOT, settings

# The release of charts/platform, and the Secret of its object store, as environments/kind/values.yaml names them.
PLATFORM, STORE_SECRET = "platform", "ml-store"
HOSTING, HOSTED = "local-registry-hosting", "localRegistryHosting.v1"  # where a cluster says which registry it has
PORT = 5001  # of the registry that kind's documentation puts beside a cluster


def up(wanted: str | None, profile: str, kubernetes: str | None, port: int = PORT) -> None:
    """Make cluster, registry and namespace with kind or minikube, and put in what the profile wants.

    Raises ContractError, before anything is made, after a line for each thing that this machine lacks.
    """
    size, name = PROFILES[profile], settings().project.slug
    there = any(each in _contexts() for each in (f"kind-{name}", name))
    if failed := examine(machine.checks(wanted, None if there else size)):
        raise ContractError("cluster", f"{failed} things are missing", "Get them as told above, and run this again")
    made = _made(wanted, port)
    target = Target(made.context, name, name)
    run(made.up(size, kubernetes))
    run([target.apply(target.space(profile)), target.elsewhere("kube-public").apply(_registry(made.images))])
    if size.platform:
        if ask(target.there("secret", STORE_SECRET)) is None:
            run([target.apply(_keys())])
        run([target.install(PLATFORM, ROOT / "charts" / PLATFORM, "--set", "prometheus.enabled=true")])
    if size.kubeflow:
        run(target.kubeflow())
    say("cluster", f"{made.context} is up with the profile {profile}; `ml cluster deploy` is next")


def down(wanted: str | None) -> None:
    """End the cluster and its registry, with all that is in them."""
    made = _made(wanted)
    run(made.down())
    say("cluster", f"{made.context} is gone")


def running() -> tuple[Kind | Minikube, Target, str]:
    """Return the project's cluster, how it is asked, and its profile; raises ContractError where it is not up."""
    name, made = settings().project.slug, _made(None)
    target = Target(made.context, name, name)
    space = _object(target, "namespace", name)
    profile = space and space["metadata"].get("annotations", {}).get(PROFILE)
    registry = _object(target.elsewhere("kube-public"), "configmap", HOSTING)
    if not profile or not registry:
        raise ContractError("cluster", f"{made.context} is not up", "Run `ml cluster up` first")
    if isinstance(made, Kind):
        host = json.loads(registry["data"][HOSTED])["host"]
        made = made._replace(port=int(host.rpartition(":")[2]))
    return made, target, profile


def _made(wanted: str | None, port: int = PORT) -> Kind | Minikube:
    """Return the project's cluster, there already or not: the one that is wanted, is there, or can be made."""
    name, there = settings().project.slug, _contexts()
    known = "kind" if f"kind-{name}" in there else "minikube" if name in there else None
    if machine.maker(wanted or known) == "kind":
        return Kind(name, machine.engine(), port)
    return Minikube(name, machine.engine())


def _object(target: Target, kind: str, name: str) -> Any:
    return json.loads(ask(target.kubectl("get", kind, name, "--output", "json")) or "null")


def _contexts() -> list[str]:
    listed = ask(Command(("kubectl", "config", "get-contexts", "--output", "name"))) if shutil.which("kubectl") else ""
    return (listed or "").splitlines()


def _keys() -> dict[str, object]:
    """Return the Secret by which the object store and who asks it know each other, with keys of its own."""
    keys = {"AWS_ACCESS_KEY_ID": secrets.token_hex(16), "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(32)}
    told = {**keys, "FSSPEC_S3_ENDPOINT_URL": f"http://{PLATFORM}-s3:8333"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": STORE_SECRET}, "stringData": told}


def _registry(host: str) -> dict[str, object]:
    """Return the object by which tools find a cluster's registry (KEP-1755)."""
    told = {"host": host, "help": "https://kind.sigs.k8s.io/docs/user/local-registry/"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": HOSTING, "namespace": "kube-public"},
        "data": {HOSTED: json.dumps(told)},
    }
