"""Pipelines as text for Kubeflow: IR YAML, which is uploaded, or manifests, which the cluster's own API takes."""

import hashlib
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from kfp import compiler, dsl
from kfp.compiler.compiler_utils import KubernetesManifestOptions

from ml.pipeline.placement import mounted
from ml.revision import commit
from ml.settings import settings


class Names(NamedTuple):
    """What a pipeline and one version of it are called on a cluster."""

    pipeline: str
    version: str


def names(pipeline: Any) -> Names:
    """Return the project's names for a pipeline as it is now, so that the same commit makes no second version.

    Where files differ from the commit, or there is none, the name says so and holds a hash of the pipeline.
    """
    at, volume = commit(), settings().kubeflow.volume
    version = f"git-{at[:12]}" if at else "no-commit"
    if not at or "+" in at:
        version += "-changed" * bool(at) + f"-{hashlib.sha256(compiled(pipeline, volume).encode()).hexdigest()[:12]}"
    return Names(f"{settings().project.slug}-{pipeline.name}", f"{version}-{volume}" if volume else version)


@cache
def compiled(pipeline: Any, volume: str = "", manifest: Names | None = None) -> str:
    """Return a pipeline as IR YAML or, with names, as the manifests of a Pipeline and a PipelineVersion.

    Its steps mount the volume whose claim is named; its parameter `image` takes the steps' image by digest.
    """
    with mounted(volume):  # what is mounted is no parameter: the pipeline is traced again
        traced = dsl.pipeline(name=pipeline.name)(pipeline.pipeline_func)
    options = manifest and KubernetesManifestOptions(
        pipeline_name=manifest.pipeline,
        pipeline_version_name=f"{manifest.pipeline}-{manifest.version}",
        pipeline_version_display_name=manifest.version,
        include_pipeline_manifest=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(
            traced, str(file), kubernetes_manifest_format=bool(manifest), kubernetes_manifest_options=options
        )
        return file.read_text()
