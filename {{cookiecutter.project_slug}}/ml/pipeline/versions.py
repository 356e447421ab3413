"""What lies on Kubeflow before a run can begin: the pipeline, one version of it a commit, and the experiment."""

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from kfp.client import Client
from kfp_server_api import V2beta1Pipeline

from ml.pipeline.compiled import compiled, names
from ml.settings import settings


class Version(NamedTuple):
    """One version of a pipeline on Kubeflow: ids of both, and the version's name."""

    pipeline: str
    id: str
    name: str


def version(client: Client, pipeline: Any) -> Version:
    """Return this commit's version of a pipeline; it is uploaded when it is not there yet, and never twice."""
    conf, wanted = settings().kubeflow, names(pipeline)
    only = {"namespace": conf.namespace or None, "filter": called(wanted.pipeline)}
    found = client.list_pipelines(**only).pipelines
    if not found:
        made = V2beta1Pipeline(display_name=wanted.pipeline, name=wanted.pipeline, namespace=conf.namespace or None)
        found = [client.pipelines.pipeline_service_create_pipeline(made)]
    home = found[0].pipeline_id
    there = client.list_pipeline_versions(home, filter=called(wanted.version)).pipeline_versions
    if not there:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "pipeline.yaml"
            file.write_text(compiled(pipeline, conf.volume))
            there = [client.upload_pipeline_version(str(file), wanted.version, pipeline_id=home)]
    return Version(home, there[0].pipeline_version_id, wanted.version)


def experiment(client: Client) -> str:
    """Return the id of the experiment under which runs are listed, made if need be."""
    conf = settings().kubeflow
    return str(client.create_experiment(conf.experiment, namespace=conf.namespace or None).experiment_id)


def called(name: str) -> str:
    """Return the filter that finds what has a name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})
