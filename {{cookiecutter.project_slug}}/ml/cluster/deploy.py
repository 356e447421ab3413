"""Brings the released bundle to the project's cluster, waits until it serves, and asks it a golden record."""

import base64
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ml.cluster.cluster import PLATFORM, STORE_SECRET, running
from ml.cluster.command import Command, run, told
from ml.cluster.kind import Kind
from ml.cluster.minikube import Minikube
from ml.cluster.profile import PROFILES
from ml.cluster.target import Target, served
from ml.cluster.ways import variables, way
from ml.contract import bundle, release, secrets
from ml.delivery import smoke as golden
from ml.errors import ContractError
from ml.progress import say
from ml.settings import ROOT, settings
from ml.store import files

STORE = "s3://models/project"  # as environments/kind/values.yaml names it
SECRETS = "ml-secrets"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def deploy() -> None:
    """Build the images, push them, copy the bundles, and install the chart with the release; wait until it serves.

    Raises ContractError where nothing is released, the cluster is not up, or what is installed does not serve.
    """
    values = settings().values_file
    if not values.is_file():
        raise ContractError(
            "cluster", f"{values} is not there", "Name an environment: export ML_RELEASE_ENVIRONMENT=kind"
        )
    named = release.read()
    made, target, profile = running()
    roles = ("serving", "training") if PROFILES[profile].kubeflow else ("serving",)
    images = {role: _pushed(made, target, role) for role in roles}
    run([_secrets(target)])
    if PROFILES[profile].platform:
        copy(target, named.digests)
    install(target, images)
    say("cluster", f"{target.name} serves {named.champion[:12]} on {target.context}; `ml cluster smoke` asks it")


def install(target: Target, images: Mapping[Any, str], *values: str, file: Path | None = None) -> None:
    """Install a release, with these images, and wait; shows why where it does not come to serve.

    It is the one of `file`, by default the environment's as it is now.
    """
    conf = settings()
    given = served(conf.values_file, file or conf.release_file, images)
    try:
        run([target.install(target.name, ROOT / "charts" / "serving", *given, *values)])
        run([target.rollout("status", "--timeout", "5m")])
    except ContractError:
        for command in target.state():
            with suppress(ContractError):  # why it failed is told first
                run([command])
        raise


def smoke() -> None:
    """Ask the champion's golden record through the Service, and hold the score against the bundle's own."""
    _, target, profile = running()
    with asked(target, profile) as service:
        golden.smoke(service)


@contextmanager
def asked(target: Target, profile: str) -> Iterator[str]:
    """Yield the URL of the Service; the online store that the settings name is the cluster's meanwhile."""
    with way(target, target.name, 80) as service:
        if not PROFILES[profile].platform:
            yield f"http://{service}"
            return
        with way(target, f"{PLATFORM}-redis", 6379) as redis, variables(ML_ONLINE_URL=f"redis://{redis}/0"):
            yield f"http://{service}"


def copy(target: Target, digests: Sequence[str]) -> None:
    """Copy bundles from this machine's store to the cluster's, each proved; what is there already stays."""
    here = settings().store_url
    files.local(here, "bundles that are copied to a cluster")
    cores = [bundle.proved(here, digest) for digest in digests]
    with stored(target):
        for core in cores:
            bundle.save(STORE, core, {})
    say("cluster", f"{len(cores)} bundles are in {STORE} of {target.context}")


@contextmanager
def stored(target: Target) -> Iterator[None]:
    """Let S3 be the cluster's store for the block, by the Secret that the pods have."""
    secret = json.loads(told(target.kubectl("get", "secret", STORE_SECRET, "--output", "json")))["data"]
    keys = {name: base64.b64decode(value).decode() for name, value in secret.items() if name.startswith("AWS_")}
    with way(target, f"{PLATFORM}-s3", 8333) as where, variables(**keys, AWS_ENDPOINT_URL=f"http://{where}"):
        files.forget("s3")  # the way before led to another port
        yield
    files.forget("s3")


def _pushed(made: Kind | Minikube, target: Target, role: str) -> str:
    """Build the image of a role and push it; returns its name for pods, by digest."""
    with _registry(made, target) as host:
        built = Command((sys.executable, "-m", "ml", "image", role, "--push"), variables={"ML_IMAGE_REGISTRY": host})
        digest = DIGEST.search(told(built))
    if not digest:
        raise ContractError("image", f"`{built}` told no digest", "Run it alone, and see what it says")
    return f"{made.images}/{settings().project.slug}-{role}@{digest[0]}"


@contextmanager
def _registry(made: Kind | Minikube, target: Target) -> Iterator[str]:
    """Yield where images are pushed: kind's registry listens here, to minikube's a way is opened."""
    if isinstance(made, Kind):
        yield made.images
    else:
        with way(target.elsewhere("kube-system"), "registry", 80) as host:
            yield host


def _secrets(target: Target) -> Command:
    """Return the command that makes the Secret hold what this environment's folder of secrets does."""
    secrets.salt(), secrets.senders()  # made where they are not there yet
    create = target.kubectl("create", "secret", "generic", SECRETS, "--from-file", str(settings().secrets))
    made = told(create._replace(words=(*create.words, "--dry-run=client", "--output", "json")))
    return target.kubectl("apply", "--filename", "-", reads=made)
