"""What a machine is asked before a cluster is made on it: everything that is missing is told at once."""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ml.cluster.command import Command, ask
from ml.cluster.profile import Profile
from ml.doctor.check import Check, Doubt
from ml.errors import ContractError

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
OLDEST_KIND = (0, 29)  # makes clusters of Kubernetes 1.33

# How to get each tool, pinned where its makers publish files by version.
INSTALL = "sudo install {0} /usr/local/bin/"
GET = {
    "docker": "sudo apt-get install -y docker.io (or podman)",
    "kind": f"curl -fsSLo kind https://kind.sigs.k8s.io/dl/v0.32.0/kind-linux-{ARCH} && {INSTALL.format('kind')}",
    "minikube": "curl -fsSLO https://storage.googleapis.com/minikube/releases/latest/minikube-linux-"
    f"{ARCH} && sudo install minikube-linux-{ARCH} /usr/local/bin/minikube",
    "kubectl": f"curl -fsSLO https://dl.k8s.io/release/v1.36.1/bin/linux/{ARCH}/kubectl && {INSTALL.format('kubectl')}",
    "helm": f"curl -fsSL https://get.helm.sh/helm-v4.2.4-linux-{ARCH}.tar.gz | "
    f"sudo tar -xz -C /usr/local/bin --strip-components 1 linux-{ARCH}/helm",
}


def engine() -> str:
    """Return docker or podman, whichever is there; raises ContractError where neither answers."""
    there = [name for name in ("docker", "podman") if shutil.which(name)]
    if not there:
        raise ContractError("engine", "neither docker nor podman is there", f"Get it with: {GET['docker']}")
    for name in there:
        if ask(Command((name, "version"))) is not None:
            return name
    mend = "sudo systemctl start docker && sudo usermod -aG docker $USER, then log in again"
    raise ContractError("engine", f"{there[0]} is there, and does not answer", f"Mend it with: {mend}")


def maker(wanted: str | None = None) -> str:
    """Return kind or minikube: the one that is wanted, else the first that is there; raises ContractError without."""
    there = [name for name in ("kind", "minikube") if shutil.which(name)]
    if wanted in there or (wanted is None and there):
        return wanted or there[0]
    missing = wanted or "kind"
    told = f"{missing} is not there" if wanted else "neither kind nor minikube is there"
    raise ContractError("cluster", told, f"Get it with: {GET[missing]}")


def checks(wanted: str | None, profile: Profile | None) -> Iterator[Check]:
    """Yield what a machine is asked before a cluster is made on it; how big it is, only with a profile."""
    yield has_engine
    yield partial(has_maker, wanted)
    yield partial(has_tool, "kubectl")
    yield partial(has_tool, "helm")
    if profile:
        yield partial(has_cpus, profile.cpus)
        yield partial(has_memory, profile.memory_gb)
        yield partial(has_disk, profile.disk_gb)


def has_engine() -> str:
    """Is there something that runs containers?"""
    return f"{engine()} answers"


def has_maker(wanted: str | None) -> str:
    """Is there something that makes clusters, new enough?"""
    found = maker(wanted)
    version = re.search(r"v(\d+)\.(\d+)", ask(Command((found, "version"))) or "")
    if found == "kind" and version and tuple(map(int, version.groups())) < OLDEST_KIND:
        told = f"kind {version[0]} is too old for Kubernetes 1.33"
        raise ContractError("cluster", told, f"Get it with: {GET['kind']}")
    return f"{found} {version[0] if version else 'of an unknown version'} is there"


def has_tool(tool: str) -> str:
    """Is a tool there?"""
    if not shutil.which(tool):
        raise ContractError("cluster", f"{tool} is not there", f"Get it with: {GET[tool]}")
    return f"{tool} is there"


def has_cpus(wanted: int) -> str:
    """Are there as many processors as the cluster needs?"""
    there = len(os.sched_getaffinity(0))
    if there < wanted:
        raise ContractError("processors", f"{there} of {wanted}", "Take a smaller profile or a bigger machine")
    return f"{there} processors, {wanted} are needed"


def has_memory(wanted: int, told: Path = Path("/proc/meminfo")) -> str:
    """Is as much memory free as the cluster needs?"""
    kilobytes = dict(re.findall(r"(\w+): +(\d+) kB", told.read_text()))
    total, free = (int(kilobytes[key]) / 2**20 for key in ("MemTotal", "MemAvailable"))
    if total < 0.9 * wanted:  # a part of it is the kernel's
        raise ContractError("memory", f"{total:.1f} GB of {wanted}", "Take a smaller profile or a bigger machine")
    if free < wanted:
        raise Doubt("memory", f"{free:.1f} GB of {wanted} are free", "End what you can do without")
    return f"{free:.1f} GB of memory are free, {wanted} are needed"


def has_disk(wanted: int, folder: Path = Path("/var/lib")) -> str:
    """Is there room for images and volumes, where engines keep them unless told otherwise?"""
    free = shutil.disk_usage(folder).free / 2**30
    if free < wanted:
        raise ContractError("disk", f"{free:.0f} GB of {wanted} are free in {folder}", "Free some: docker system prune")
    return f"{free:.0f} GB of disk are free in {folder}, {wanted} are needed"
