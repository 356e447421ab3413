"""How a step runs on a cluster: its image, CPU and memory, as whom, and by whose credentials.

The local runner knows nothing of it. Memory is limited to what is asked for, so that a step which wants too much is
ended, and not its neighbours; CPU to more than a step has use for, because quotas of shared namespaces ask for a limit.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import NamedTuple

from kfp import dsl, kubernetes

USER = 10001  # of the images; no step is root
HOME = "/var/ml"  # where a volume is mounted that all steps share

# What object stores are asked with; each is optional, and they are the Secret's keys and the variables' names at once.
CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "FSSPEC_S3_ENDPOINT_URL",
)


class Size(NamedTuple):
    """CPU that a step asks for and may use at most, and its memory."""

    cpu: str
    cpu_limit: str
    memory: str


SMALL = Size("250m", "1", "1Gi")  # looks at names and hashes
MEDIUM = Size("500m", "2", "2Gi")  # has a window of records in memory; the example's three months take 0.8 GB
LARGE = Size("1", "4", "4Gi")  # fits or judges, on as many threads as [train] threads says; these take 0.6 GB

_claim = ContextVar("claim", default="")  # of the volume that the pipeline which is traced just now mounts


def placed(
    task: dsl.PipelineTask, image: str, secret: str, size: Size = MEDIUM, *, pure: bool = False
) -> dsl.PipelineTask:
    """Return a step as it runs on a cluster; only of a pure one is an earlier result used again.

    Pure is what depends on its parameters, its inputs and its image alone, and changes nothing else. Kubeflow's key
    holds these, the image by digest, but no variables and nothing that lies behind a URL.
    """
    task.set_caching_options(pure).set_container_image(image)
    task.set_cpu_request(size.cpu).set_cpu_limit(size.cpu_limit)
    task.set_memory_request(size.memory).set_memory_limit(size.memory)
    kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
    kubernetes.use_secret_as_env(task, secret, {name: name for name in CREDENTIALS}, optional=True)
    if claim := _claim.get():
        kubernetes.mount_pvc(task, pvc_name=claim, mount_path=HOME)
    return task


@contextlib.contextmanager
def mounted(claim: str) -> Iterator[None]:
    """Let the steps of pipelines that are traced in the block mount a volume, by its claim's name; empty: none."""
    before = _claim.set(claim)
    try:
        yield
    finally:
        _claim.reset(before)
