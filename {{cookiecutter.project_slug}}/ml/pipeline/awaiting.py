"""Waits for a run on Kubeflow; one that fails is told by the sentence of the step that failed."""

import time
from typing import Any

from kfp.client import Client
from kfp_server_api import ApiException
from urllib3.exceptions import HTTPError

from ml.errors import ContractError
from ml.pipeline.patience import POLL, patiently
from ml.pipeline.steplog import said
from ml.progress import Bar

ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
LOG = "/apis/v1alpha1/runs/{run}/nodes/{pod}/log"  # which the API's own description leaves out


def awaited(client: Client, run: str, page: str) -> None:
    """Return once a run has succeeded; raises ContractError when it ends otherwise. Interrupted, it ends the run."""
    with Bar("running on Kubeflow"):
        try:
            while (found := patiently(lambda: client.get_run(run), ApiException)).state not in ENDED:
                time.sleep(POLL)
        except KeyboardInterrupt:
            client.terminate_run(run)
            raise
    if found.state != "SUCCEEDED":
        raise _reason(client, found, page)


def _reason(client: Client, run: Any, page: str) -> ContractError:
    """Return the failed step's own error out of its pod's log, else what Kubeflow says of the run."""
    tasks = run.run_details.task_details if run.run_details else None
    failed = [task for task in tasks or () if task.state == "FAILED"]
    pods = [name for task in failed for name in (task.pod_name, *(child.pod_name for child in task.child_tasks or ()))]
    for pod in dict.fromkeys(filter(None, pods)):
        if error := said(_log(client, run.run_id, pod)):
            return error
    told = [run.error.message] if run.error and run.error.message else [task.display_name for task in failed]
    return ContractError("pipeline", f"the run has {run.state.lower()}: {', '.join(told)}".rstrip(": ."), f"See {page}")


def _log(client: Client, run: str, pod: str) -> str:
    """Return what a pod printed; nothing where it is gone already."""
    try:
        answer = client.runs.api_client.call_api(
            LOG, "GET", path_params={"run": run, "pod": pod}, auth_settings=["Bearer"], _preload_content=False
        )
    except (ApiException, HTTPError):
        return ""
    return bytes(answer.data).decode(errors="replace")
