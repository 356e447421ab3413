"""What Kubeflow Trainer is asked for: a TrainJob that fits a rung in pods of its own, of another size than a step's.

https://github.com/kubeflow/trainer, pkg/apis/trainer/v1alpha1/trainjob_types.go of v2.3.0, says what each field means.
"""

from typing import Any

from ml.errors import ContractError
from ml.pipeline import reach
from ml.pipeline.placement import CREDENTIALS, HOME, USER
from ml.settings import settings
from ml.store import files

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
LABELS = {"app.kubernetes.io/component": "trainjob"}  # of its pods, too: charts/training has a NetworkPolicy for them

ALONE = ["python3", "-m", "ml.pipeline.node"]
TOGETHER = ["python3", "-m", "torch.distributed.run", "-m", "ml.pipeline.node"]  # the runtime's PET_* say with whom


def trainjob(image: str) -> dict[str, Any]:
    """Return the rungs that are trained so, where they are handed over, and the TrainJob; {} where there are none.

    Raises ContractError for a rung that is not trained at all, and for an image that is not named by digest.
    """
    conf = settings()
    if absent := [rung for rung in conf.trainjob.rungs if rung not in conf.train.rungs]:
        broken = f"rung {absent[0]!r} of [trainjob] is not trained"
        raise ContractError("settings", broken, "Add it to [train] rungs in project.toml")
    if not conf.trainjob.rungs:
        return {}
    handover = files.join(conf.store_url, PLURAL)
    return {"rungs": conf.trainjob.rungs, "handover": handover, "job": _job(reach.image(conf.trainjob.image or image))}


def named(job: dict[str, Any], name: str, words: list[str]) -> dict[str, Any]:
    """Return a TrainJob with its name and with what the module `ml.pipeline.node` is told."""
    spec = job["spec"] | {"trainer": job["spec"]["trainer"] | {"args": words}}
    return job | {"metadata": job["metadata"] | {"name": name}, "spec": spec}


def _job(image: str) -> dict[str, Any]:
    """Return the TrainJob, but for its name and its arguments; one process a node, whatever CPUs or GPUs it has."""
    conf, namespace = settings().trainjob, settings().kubeflow.namespace or "kubeflow"
    resources = {"cpu": conf.cpu, "memory": conf.memory} | ({"nvidia.com/gpu": str(conf.gpus)} if conf.gpus else {})
    trainer = {
        "image": image,
        "command": ALONE if conf.nodes == 1 else TOGETHER,
        "numNodes": conf.nodes,
        "numProcPerNode": 1,
        "resourcesPerNode": {"requests": resources, "limits": resources},
        "env": [_credential(key) for key in CREDENTIALS],
    }
    patch = {"spec": {"replicatedJobs": [{"name": "node", "template": {"spec": {"template": _pod()}}}]}}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainJob",
        "metadata": {"namespace": namespace, "labels": LABELS | {"app.kubernetes.io/name": settings().project.slug}},
        "spec": {
            "runtimeRef": {"apiGroup": GROUP, "kind": "ClusterTrainingRuntime", "name": conf.runtime},
            "trainer": trainer,
            "runtimePatches": [{"manager": "ml.pipeline/trainjob", "trainingRuntimeSpec": {"template": patch}}],
        },
    }


def _credential(key: str) -> dict[str, Any]:
    chosen = {"name": settings().kubeflow.secret, "key": key, "optional": True}
    return {"name": key, "valueFrom": {"secretKeyRef": chosen}}


def _pod() -> dict[str, Any]:
    """Return what differs from the runtime's pod: it passes *restricted*, and mounts the volume where there is one.

    In each runtime of Trainer's own, the job and the container that train are called `node`.
    """
    user = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    rights = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container: dict[str, Any] = {"name": "node", "securityContext": rights}
    spec: dict[str, Any] = {"securityContext": user | {"seccompProfile": {"type": "RuntimeDefault"}}}
    if claim := settings().kubeflow.volume:
        spec["volumes"] = [{"name": "store", "persistentVolumeClaim": {"claimName": claim}}]
        container["volumeMounts"] = [{"name": "store", "mountPath": HOME}]
    return {"metadata": {"labels": LABELS}, "spec": spec | {"containers": [container]}}
