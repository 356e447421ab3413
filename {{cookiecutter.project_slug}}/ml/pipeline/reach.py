"""What a cluster can reach: an image that always names the same, and places that are no folders of this machine."""

import re
from typing import Any

from ml.errors import ContractError
from ml.pipeline.placement import HOME
from ml.settings import settings

BY_DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")
NEARBY = re.compile(r"(localhost|127\.0\.0\.1|kind-registry)(:\d+)?/\S+")  # a laptop's registry, where a tag will do

SHARED = f"an object store, or a folder of [kubeflow] volume, below {HOME}"
REDIS = "a redis://"  # an LMDB serves one node, and is on no volume

# The parameters that are places, the table of project.toml that names each, and what it may be.
PLACES = {
    "lake": ("data", SHARED),
    "records": ("data", SHARED),
    "store": ("store", SHARED),
    "scores": ("store", SHARED),
    "online": ("online", REDIS),
}


def image(named: str | None = None) -> str:
    """Return the image of the steps; raises ContractError for a tag, which may name another image tomorrow."""
    found = named or settings().kubeflow.image
    if BY_DIGEST.fullmatch(found) or NEARBY.fullmatch(found):
        return found
    broken = f"image {found!r} is not named by digest" if found else "no image is named"
    raise ContractError("kubeflow", broken, "Set [kubeflow] image to the training image, <repository>@sha256:<digest>")


def refuse_unreachable(parameters: dict[str, Any]) -> None:
    """Raise ContractError for a place among a run's parameters that its steps cannot reach."""
    for name, (table, wanted) in PLACES.items():
        place = str(parameters.get(name, "://"))
        mounted = settings().kubeflow.volume and wanted is SHARED and place.startswith(f"{HOME}/")
        if "://" not in place and not mounted:
            broken = f"{name} {place} is out of a cluster's reach"
            raise ContractError("kubeflow", broken, f"Set [{table}] url to {wanted}")
