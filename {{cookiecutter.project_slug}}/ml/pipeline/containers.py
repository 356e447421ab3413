"""Runs the pipeline's steps in containers on this machine, by Kubeflow's own runner for Docker; none is left behind."""

import contextlib
import copy
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kfp import local

from ml.errors import ContractError
from ml.settings import settings

MEND = "Install its client (`pip install docker`), start it, or leave out --image"


def placed(pipeline: Any, image: str) -> Any:
    """Return a pipeline whose steps have this image; Kubeflow's local runners read no parameter there."""
    here = copy.deepcopy(pipeline)
    executors = here.pipeline_spec.deployment_spec["executors"]
    for name in executors:
        executors[name]["container"]["image"] = image
    return here


@contextlib.contextmanager
def runner() -> Iterator[Any]:
    """Yield what runs steps as a cluster does: no rights, nothing to write to but /tmp and what this project stores.

    They are the caller's user, so that the files are his, and see store, lake and releases where he sees them. Raises
    ContractError without Docker or its client library.
    """
    try:
        import docker
        from docker.types import Mount

        engine = docker.from_env()
    except Exception as error:  # the library has errors of its own, and of those below it
        raise ContractError("pipeline", f"Docker does not answer: {error}", MEND) from error
    conf, run = settings(), f"ml-run-{uuid.uuid4()}"
    releases = conf.path(conf.release.folder)
    places = {"ML_STORE_URL": conf.store_url, "ML_DATA_URL": conf.lake_url, "ML_RELEASE_FOLDER": releases}
    mounted = [place for place in dict.fromkeys(places.values()) if Path(place).is_dir()]
    variables = {name: value for name, value in os.environ.items() if name.startswith(("ML_", "AWS_", "FSSPEC_"))}
    try:
        yield local.DockerRunner(
            mounts=[Mount(place, place, type="bind") for place in mounted],
            environment=variables | places,
            entrypoint=[""],  # a step brings its own command, as on a cluster, where it takes the place of `ml`
            user=f"{os.getuid()}:{os.getgid()}",
            read_only=True,
            tmpfs={"/tmp": ""},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            labels=[run],
        )
    finally:
        for container in engine.containers.list(filters={"label": run}):
            with contextlib.suppress(docker.errors.APIError):  # it has ended meanwhile
                container.kill()
        engine.close()
