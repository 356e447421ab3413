"""Lets Kubeflow Trainer fit a rung in the place of a step, and waits for it; the only place that asks Kubernetes."""

import contextlib
import json
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from ml.errors import ContractError
from ml.pipeline.node import BROKEN, MODEL, TABLE
from ml.pipeline.patience import POLL, patiently
from ml.pipeline.trainjob import GROUP, PLURAL, VERSION, named
from ml.progress import say
from ml.store import files

ENDED = ("Complete", "Failed")  # conditions of a TrainJob


def train(table: Path, model: Path, rung: str, seed: int, threads: int, trainjob: dict[str, Any]) -> None:
    """Do what `ml.training.train.train` does, by a TrainJob; the table and the model go through the store.

    Raises ContractError with the rung's own sentence, when the TrainJob fails, and when Kubernetes refuses it. However
    it ends, by SIGTERM as well, neither the TrainJob nor what was handed over is left.
    """
    name = f"train-{uuid.uuid4().hex[:12]}"
    place = files.join(trainjob["handover"], name)
    job = named(trainjob["job"], name, [place, rung, str(seed), str(threads)])
    try:
        with _interruptible():
            files.write(files.join(place, TABLE), table.read_bytes())
            with _kubernetes() as api:
                _run(api, job)
            _take(place, name, model)
    finally:
        for file in files.states(place):
            files.remove(files.join(place, file))
    say("train", f"{rung}: by the TrainJob {name}, {job['spec']['trainer']['numNodes']} nodes")


def _run(api: client.CustomObjectsApi, job: dict[str, Any]) -> None:
    """Submit a TrainJob, wait until it has ended, and delete it; raises ContractError when it has failed."""
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    its = (GROUP, VERSION, namespace, PLURAL, name)
    try:
        api.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, job)
        while not (ended := _ended(patiently(lambda: api.get_namespaced_custom_object(*its), ApiException))):
            time.sleep(POLL)
    finally:
        with contextlib.suppress(ApiException, HTTPError):  # it was never made, or nobody answers
            api.delete_namespaced_custom_object(*its)
    if ended["type"] == "Failed":
        broken = f"{name} has failed: {ended.get('message', '').rstrip('.') or ended.get('reason')}"
        raise ContractError("trainjob", broken, "See [trainjob] in project.toml: its memory, image and runtime")


def _ended(job: dict[str, Any]) -> dict[str, Any] | None:
    """Return the condition by which a TrainJob has ended, None while it has not."""
    said = job.get("status", {}).get("conditions", [])
    return next((each for each in said if each["type"] in ENDED and each["status"] == "True"), None)


def _take(place: str, name: str, model: Path) -> None:
    """Write what a TrainJob has left below `place` into the folder `model`; raises the error that it left instead."""
    if BROKEN in files.names(place):
        raise ContractError(*json.loads(files.read(files.join(place, BROKEN))))
    made = files.names(files.join(place, MODEL))
    if not made:
        raise ContractError("trainjob", f"{name} has left no model", "See [trainjob] in project.toml: its runtime")
    model.mkdir(parents=True, exist_ok=True)
    for file in made:
        (model / file).write_bytes(files.read(files.join(place, MODEL, file)))


@contextlib.contextmanager
def _kubernetes() -> Iterator[client.CustomObjectsApi]:
    """Yield the API of the cluster that this pod is in, or that kubectl knows; its refusals are ContractErrors."""
    try:
        found = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=found)
        except config.ConfigException:
            config.load_kube_config(client_configuration=found)
        yield client.CustomObjectsApi(client.ApiClient(found))
    except config.ConfigException as error:
        raise ContractError("trainjob", f"no cluster is known: {error}", "Leave [trainjob] rungs empty") from error
    except ApiException as error:
        told = json.loads(error.body).get("message", "") if (error.body or "").startswith("{") else error.reason
        broken = f"Kubernetes refuses: {error.status}, {' '.join(told.split())[:300].rstrip('.')}"
        mend = "Install Kubeflow Trainer, and set kubeflow.trainer of charts/training, which gives the right"
        raise ContractError("trainjob", broken, mend) from error
    except HTTPError as error:
        raise ContractError("trainjob", "Kubernetes does not answer", "Run the pipeline again") from error


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM, by which Kubeflow ends a step, interrupt the block as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
