"""A pod of the chart, run for real but for Kubernetes: its containers' own words and variables, and its store.

Only what a machine without containers cannot give is changed: the folders of its volumes, addresses, and free ports.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from chart_rendering import CHARTS, changed, containers, one, pods, render
from conftest import TEMPLATE

pytestmark = pytest.mark.slow

KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "a-secret-of-theirs"}
QUIET = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nobody uses now, none of them twice."""
    with ExitStack() as held:
        return [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


@contextmanager
def started(words: list[str], log: Path, environment: dict[str, str]):
    """Run a process beside the test; it is told to terminate at the end, and has half a minute for it."""
    with log.open("wb") as output:
        process = subprocess.Popen(words, cwd=TEMPLATE, env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()


def answering(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    pytest.fail(f"{url} does not answer: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Where the object store of charts/platform answers, started by the words of its container."""
    folder = tmp_path_factory.mktemp("s3")
    (pod,) = [pod for who, _, pod in pods(render(CHARTS / "platform", {})) if who == "StatefulSet/project-s3"]
    (container,) = pod["containers"]
    s3, *others = free_ports(8)
    told = [*container["command"]]
    for mine, theirs in (("-dir=/data", f"-dir={folder}"), ("-s3.port=8333", f"-s3.port={s3}")):
        told[told.index(mine)] = theirs
    told[told.index("-s3.ip.bind=0.0.0.0")] = "-s3.ip.bind=127.0.0.1"
    roles = ("master", "volume", "filer")
    told += [f"-{role}.port={port}" for role, port in zip(roles, others[:3], strict=True)]
    told += [f"-{role}.port.grpc={port}" for role, port in zip((*roles, "s3"), others[3:7], strict=True)]
    told[0] = str(Path(sys.executable).with_name("weed"))
    assert {each["name"] for each in container["env"]} == set(KEYS)
    with started(told, folder / "log", os.environ | KEYS) as process:
        answering(f"http://127.0.0.1:{s3}{container['readinessProbe']['httpGet']['path']}", process, folder / "log")
        yield f"http://127.0.0.1:{s3}"
    for port in others[3:7]:
        for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):  # always there, never removed
            left.unlink()


@pytest.fixture(scope="module")
def trained(store, run, tmp_path_factory) -> str:
    """The digest of a bundle that a training has left in the object store."""
    folder, secret = tmp_path_factory.mktemp("trained"), KEYS | QUIET | {"FSSPEC_S3_ENDPOINT_URL": store}
    own = {"ML_STORE_URL": folder / "store", "ML_DATA_URL": folder / "lake", "ML_RELEASE_FOLDER": folder / "none"}
    own |= {"ML_TRAIN_RUNGS": json.dumps(["constant", "logistic"]), "PYTHONDONTWRITEBYTECODE": "1"}
    variables = [f"{name}={value}" for name, value in own.items()]
    run("env", *variables, sys.executable, "-m", "ml", "pipeline", "run", cwd=TEMPLATE)
    copy = "import sys, s3fs; s3fs.S3FileSystem().put(sys.argv[1], 'models/project/bundles', recursive=True)"
    variables = [f"{name}={value}" for name, value in secret.items()]
    run("env", *variables, sys.executable, "-c", copy, f"{folder}/store/bundles", cwd=TEMPLATE)
    return (folder / "store" / "bundles" / "newest").read_text()


class Pod:
    """The containers of one scenario, as processes on this machine."""

    def __init__(self, manifests: list[dict], folder: Path, endpoint: str) -> None:
        self.folder, self._endpoint = folder, endpoint
        self.port, self.outcomes = free_ports(2)
        self._settings = next(each["data"] for each in manifests if "-settings-" in each["metadata"]["name"])
        self._containers = {each["name"]: each for _, _, pod in pods(manifests) for each in containers(pod)}
        for name, content in one(manifests, "ConfigMap", "project-release")["data"].items():
            place = folder / "releases" / self._settings["ML_RELEASE_ENVIRONMENT"] / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)

    def words(self, name: str) -> list[str]:
        """Return how a container is started here."""
        here = {"0.0.0.0": "127.0.0.1", "3000": str(self.port), "http://project": f"http://127.0.0.1:{self.port}"}
        told = [here.get(word, self._here(word)) for word in self._containers[name]["args"]]
        return [sys.executable, "-m", "ml", *told]

    def environment(self, name: str) -> dict[str, str]:
        """Return a container's variables: settings, the Secret of the store, its own, and nothing of this process's."""
        own = {each["name"]: each["value"] for each in self._containers[name]["env"]}
        told = {key: self._here(value) for key, value in (self._settings | own).items()}
        secret = KEYS | QUIET | {"FSSPEC_S3_ENDPOINT_URL": self._endpoint}
        this = {
            "PATH": os.environ["PATH"],
            "ML_SERVE_OUTCOMES_PORT": str(self.outcomes),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return secret | told | this

    def _here(self, text: str) -> str:
        return re.sub(r"^/var/ml(?=/|$)", str(self.folder), text)

    def drains(self) -> bool:
        """Say whether the service, told to end, answers that it wants no more requests; it takes a moment to hear."""
        with suppress(urllib.error.HTTPError):
            while True:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).close()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5)
        return (refused.value.code, json.load(refused.value)["status"]) == (503, "draining")

    def run(self, name: str) -> str:
        """Run a container to its end, and return what it said."""
        command, variables = self.words(name), self.environment(name)
        done = subprocess.run(command, cwd=TEMPLATE, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def pod(store, trained, tmp_path) -> Pod:
    values = yaml.safe_load((CHARTS / "serving" / "ci" / "kind-values.yaml").read_text())
    asked = {"images": {"training": "training:local"}, "monitor": {"enabled": True}, "secrets": "project"}
    asked["release"] = f"champion: {trained}\n"
    return Pod(render(CHARTS / "serving", changed(values, asked)), tmp_path, store)


def test_a_pod_fetches_serves_drains_and_leaves_its_events_to_the_jobs(pod, trained):
    assert f"1 of 1 bundles from s3://models/project, all proved in {pod.folder}/store" in pod.run("fetch")
    log = pod.folder / "serve.log"
    with started(pod.words("serving"), log, pod.environment("serving")) as process:
        answering(f"http://127.0.0.1:{pod.port}/readyz", process, log)
        assert f"scores as bundle {trained[:12]} does" in pod.run("smoke")
        process.send_signal(signal.SIGTERM)
        assert pod.drains()
        process.wait(60)
    assert process.returncode == 0
    assert "put 0 segments of s3://models/project/events/kind together" in pod.run("compact")
    assert "profiled 1 new predictions in 1 parts" in pod.run("profile")
    listed = "import s3fs; print(s3fs.S3FileSystem().ls('models/project/events/kind/predictions'))"
    command = [sys.executable, "-c", listed]
    done = subprocess.run(command, env=pod.environment("compact"), capture_output=True, text=True, check=True)
    assert done.stdout.count(".parquet") == 1, "the one prediction, sent before the pod ended"


def test_a_pod_whose_release_was_changed_on_the_way_does_not_start(pod):
    pod.run("fetch")
    file = next(pod.folder.glob("releases/*/release.yaml"))
    file.write_text(file.read_text().replace("champion", "champion ", 1))
    command = subprocess.run(
        pod.words("serving"), cwd=TEMPLATE, env=pod.environment("serving"), capture_output=True, text=True, check=False
    )
    assert command.returncode == 1
    assert "is not what release.yaml.sha256 names" in command.stderr
