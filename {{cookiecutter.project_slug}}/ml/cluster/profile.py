"""How big a cluster is wanted."""

from typing import NamedTuple


class Profile(NamedTuple):
    """What a cluster is to hold beside the service, and what the machine has to have free for it."""

    cpus: int
    memory_gb: int
    disk_gb: int
    platform: bool  # Redis, an object store, Prometheus
    kubeflow: bool


PROFILES = {
    "none": Profile(2, 3, 8, platform=False, kubeflow=False),
    "lite": Profile(2, 4, 12, platform=True, kubeflow=False),
    "full": Profile(4, 8, 40, platform=True, kubeflow=True),
}
