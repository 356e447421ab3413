"""Rungs that a TrainJob trains: what is asked for, and what becomes of it, at a server that speaks Kubernetes' API.

It runs what a TrainJob says, as a process of this machine. docs/kubeflow.md names what only a real Trainer shows.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import ROOT, configured
from kubeflow_trainer_api import models
from kubernetes.config import kube_config

from ml.errors import ContractError
from ml.features.rows import records_of, rows_of, to_parquet
from ml.pipeline import asked, trainer
from ml.pipeline.node import node
from ml.pipeline.steps import train
from ml.pipeline.trainjob import named, trainjob
from ml.training.train import train as in_place

IMAGE = "registry.example.org/a-training@sha256:" + "0" * 64
TORCH = "registry.example.org/a-torch@sha256:" + "1" * 64
JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/team/trainjobs"
RUNGS = {"ML_TRAINJOB_RUNGS": '["constant"]', "ML_KUBEFLOW_NAMESPACE": "team"}


class Cluster:
    """TrainJobs that were made, each a process that does what its command says; and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.refusing: list[int] = []  # status codes of the next answers
        self.command: list[str] = []  # what is run instead

    def make(self, job: dict[str, Any]) -> Any:
        """Keep a TrainJob that is one, and start it."""
        assert strictly(job) == job
        name, asked = job["metadata"]["name"], job["spec"]["trainer"]
        words = self.command or [sys.executable, *asked["command"][1:], *asked["args"]]
        self.processes[name] = subprocess.Popen(words, cwd=ROOT)
        self.jobs[name] = job
        return job

    def look(self, name: str) -> Any:
        """Return a TrainJob, with the conditions that Trainer would give it."""
        ended = self.processes[name].poll()
        said = [{"type": "Suspended", "status": "False", "reason": "Resumed", "message": "TrainJob is resumed"}]
        if ended is not None:
            kind, message = ("Failed", "jobset failed due to one or more job failures.") if ended else ("Complete", "")
            said.append({"type": kind, "status": "True", "reason": "Jobs", "message": message})
        return self.jobs[name] | {"status": {"conditions": said}}

    def end(self, name: str) -> Any:
        """Delete a TrainJob, and end what it runs."""
        if self.jobs.pop(name, None) is None:
            return 404
        self.processes[name].kill()
        return {"kind": "Status", "status": "Success"}

    def answer(self, method: str, path: str, body: bytes) -> Any:
        """Return what a request is answered with: an object, or a status code."""
        self.asked.append(f"{method} {path}")
        if self.refusing:
            return self.refusing.pop(0)
        name = path.removeprefix(f"{JOBS}/")
        if method == "POST":
            return self.make(json.loads(body)) if path == JOBS else 404
        return self.look(name) if method == "GET" and name in self.jobs else self.end(name)


class Handler(BaseHTTPRequestHandler):
    """Reads a request and writes its answer."""

    cluster: Cluster

    def answer(self) -> None:
        """Answer any method."""
        told = self.cluster.answer(self.command, self.path, self.rfile.read(int(self.headers["content-length"] or 0)))
        status = told if isinstance(told, int) else 200
        content = {"kind": "Status", "message": "it is not so"} if isinstance(told, int) else told
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster that kubectl knows, and settings by which one rung is trained in it."""
    made = Cluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Its", (Handler,), {"cluster": made}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    file = known(tmp_path / "kubeconfig", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    monkeypatch.setattr(trainer, "POLL", 0.05)
    with configured(**RUNGS, ML_STORE_URL=f"file://{tmp_path}/store"):
        yield made
    server.shutdown()
    thread.join()
    server.server_close()
    for process in made.processes.values():
        process.kill()
        process.wait()


def known(file: Path, host: str) -> Path:
    """Write what kubectl knows of a cluster."""
    contexts = [{"name": "its", "context": {"cluster": "its", "user": "its"}}]
    known = {"clusters": [{"name": "its", "cluster": {"server": host}}], "users": [{"name": "its", "user": {}}]}
    file.write_text(yaml.safe_dump({**known, "contexts": contexts, "current-context": "its"}))
    return file


def strictly(job: dict[str, Any]) -> dict[str, Any]:
    """Return what Trainer's own models know of a TrainJob: a field that they do not is lost, a wrong one raises."""
    found: dict[str, Any] = models.TrainerV1alpha1TrainJob.from_dict(job).to_dict()
    return found


@pytest.fixture(scope="module")
def table(lake: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training table of nine weeks."""
    days = [date(2013, 1, 1) + timedelta(days=number) for number in range(63)]
    file = tmp_path_factory.mktemp("table") / "table"
    file.write_bytes(to_parquet(rows_of(records_of(lake, days))))
    return file


def fitted(table: Path, model: Path, rung: str = "constant", **change: Any) -> None:
    """Run the step as Kubeflow does, with what a pipeline hands to it; through JSON, as there."""
    handed = json.loads(json.dumps(trainjob(IMAGE) | change))
    train.python_func(rung, 1, 1, handed, SimpleNamespace(path=table), SimpleNamespace(path=model))


def left(cluster: Cluster, folder: Path) -> list[Path]:
    """Return what is left of a TrainJob and of what was handed over."""
    assert all(process.wait(60) is not None for process in cluster.processes.values())
    return [*map(Path, cluster.jobs), *(path for path in (folder / "store").rglob("*") if path.is_file())]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"ML_TRAINJOB_NODES": "2", "ML_TRAINJOB_GPUS": "1"},
        {"ML_KUBEFLOW_VOLUME": "claim", "ML_TRAINJOB_IMAGE": TORCH},
    ],
)
def test_a_trainjob_has_only_fields_that_trainer_knows(variables: dict[str, str]) -> None:
    with configured(**RUNGS, **variables):
        job = named(trainjob(IMAGE)["job"], "train-0", ["place", "constant", "1", "1"])
    assert strictly(job) == job
    for wrong in ({"runtimeRef": {**job["spec"]["runtimeRef"], "names": "x"}}, {"numNodes": 1}):
        assert strictly(job | {"spec": job["spec"] | wrong}) != job | {"spec": job["spec"] | wrong}


def test_a_trainjob_asks_for_its_nodes_by_digest_with_limits_and_credentials_by_reference() -> None:
    with configured(**RUNGS, ML_TRAINJOB_IMAGE=TORCH, ML_TRAINJOB_NODES="2", ML_TRAINJOB_GPUS="1"):
        told = trainjob(IMAGE)["job"]["spec"]
    asked = told["trainer"]
    assert (asked["image"], asked["numNodes"], asked["numProcPerNode"]) == (TORCH, 2, 1)
    assert asked["command"] == ["python3", "-m", "torch.distributed.run", "-m", "ml.pipeline.node"]
    assert asked["resourcesPerNode"]["limits"] == {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}
    keys = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in asked["env"]}
    assert keys["AWS_SECRET_ACCESS_KEY"] == {"name": "ml-store", "key": "AWS_SECRET_ACCESS_KEY", "optional": True}
    assert told["runtimeRef"]["name"] == "torch-distributed"


def test_its_pods_are_no_root_and_mount_what_the_steps_mount() -> None:
    with configured(**RUNGS, ML_KUBEFLOW_VOLUME="claim"):
        (patch,) = trainjob(IMAGE)["job"]["spec"]["runtimePatches"]
    (replicated,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = replicated["template"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["volumeMounts"] == [{"name": pod["volumes"][0]["name"], "mountPath": "/var/ml"}]
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "claim"}


def test_no_rung_is_trained_so_unless_it_is_named_and_never_on_this_machine() -> None:
    assert asked.training(None, image=IMAGE, on_cluster=True)["trainjob"] == {}
    with configured(**RUNGS):
        assert asked.training(None)["trainjob"] == {}
        assert asked.training(None, image=IMAGE, on_cluster=True)["trainjob"]["rungs"] == ["constant"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ML_TRAINJOB_RUNGS": '["constat"]'}, r"rung 'constat' of \[trainjob\] is not trained"),
        ({"ML_TRAINJOB_IMAGE": "a-torch:latest"}, "'a-torch:latest' is not named by digest"),
    ],
)
def test_what_no_cluster_could_train_is_refused_before_anything_is_sent(variables: dict[str, str], said: str) -> None:
    with configured(**RUNGS | variables), pytest.raises(ContractError, match=said):
        trainjob(IMAGE)


def test_a_trainjob_hands_on_the_model_that_the_step_itself_would(
    cluster: Cluster, table: Path, tmp_path: Path
) -> None:
    fitted(table, tmp_path / "there")
    in_place(table, tmp_path / "here", "constant", 1, 1)
    made = {file.name: file.read_bytes() for file in (tmp_path / "there").iterdir()}
    assert made == {file.name: file.read_bytes() for file in (tmp_path / "here").iterdir()}
    (name,) = cluster.processes
    assert cluster.asked[0] == f"POST {JOBS}"
    assert set(cluster.asked[1:-1]) == {f"GET {JOBS}/{name}"}
    assert cluster.asked[-1] == f"DELETE {JOBS}/{name}"
    assert left(cluster, tmp_path) == []


def test_a_rung_that_is_not_named_is_trained_in_the_step(cluster: Cluster, table: Path, tmp_path: Path) -> None:
    fitted(table, tmp_path / "model", rungs=["network"])
    assert {file.suffix for file in (tmp_path / "model").iterdir()} == {".json", ".onnx"}
    assert cluster.asked == []


def test_a_rung_that_cannot_be_trained_ends_the_step_with_its_own_sentence(
    cluster: Cluster, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(ContractError) as here:
        in_place(table, tmp_path / "model", "absent", 1, 1)
    with pytest.raises(ContractError, match=f"^{re.escape(str(here.value))}$"):
        fitted(table, tmp_path / "model", "absent", rungs=["absent"])
    assert left(cluster, tmp_path) == []


@pytest.mark.parametrize(
    ("exits", "said"),
    [(1, "train-.* has failed: jobset failed due to one or more job failures. See"), (0, "train-.* has left no model")],
)
def test_a_trainjob_that_fails_or_leaves_nothing_ends_the_step_with_a_sentence(
    cluster: Cluster, table: Path, tmp_path: Path, exits: int, said: str
) -> None:
    cluster.command = ["sh", "-c", f"exit {exits}"]
    with pytest.raises(ContractError, match=rf"^trainjob: {said}"):
        fitted(table, tmp_path / "model")
    assert left(cluster, tmp_path) == []


def test_an_api_that_fails_for_a_moment_ends_nothing_and_a_refusal_is_told(
    cluster: Cluster, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.pipeline.patience.POLL", 0.05)
    answer = cluster.answer
    moments = iter([None, 503])  # to the first request, and to the second
    monkeypatch.setattr(cluster, "answer", lambda *what: next(moments, None) or answer(*what))
    fitted(table, tmp_path / "model")
    assert len(cluster.processes) == 1
    cluster.refusing = [403, 404]
    with pytest.raises(ContractError, match=r"^trainjob: Kubernetes refuses: 403, it is not so\. .*kubeflow\.trainer"):
        fitted(table, tmp_path / "model")
    assert left(cluster, tmp_path) == []


def test_a_step_that_kubeflow_ends_takes_its_trainjob_along(cluster: Cluster, table: Path, tmp_path: Path) -> None:
    cluster.command = ["sleep", "600"]
    (tmp_path / "handed.json").write_text(json.dumps(trainjob(IMAGE)))
    code = """
import json, sys
from pathlib import Path
from ml.pipeline.trainer import train
table, model, handed = map(Path, sys.argv[1:])
train(table, model, "constant", 1, 1, json.loads(handed.read_text()))
"""
    words = [sys.executable, "-c", code, str(table), str(tmp_path / "model"), str(tmp_path / "handed.json")]
    variables = os.environ | {"KUBECONFIG": str(tmp_path / "kubeconfig")}
    step = subprocess.Popen(words, cwd=ROOT, env=variables, stderr=subprocess.DEVNULL)
    while not any(asked.startswith("GET") for asked in cluster.asked) and step.poll() is None:
        time.sleep(0.1)
    step.send_signal(signal.SIGTERM)
    assert step.wait(60) != 0
    assert left(cluster, tmp_path) == []
    assert [asked.split(" ")[0] for asked in cluster.asked].count("DELETE") == 1


def test_of_several_nodes_the_first_alone_hands_on_the_model(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "handed"
    place.mkdir()
    (place / "table.parquet").write_bytes(table.read_bytes())
    for rank, made in (("1", False), ("0", True)):
        monkeypatch.setenv("RANK", rank)
        node(str(place), "constant", 1, 1)
        assert (place / "model").exists() is made
