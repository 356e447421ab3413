"""The images, built and run: they hold what their role needs, and do without rights what the laptop does."""

import hashlib
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import engines
import httpx
import pytest
from conftest import ROOT, configured, copy_of_bundle, ml, one_line
from delivery_flow import Flow, begun
from engines import docker
from github_api import github
from oci_registry import PASSWORD, USER, Registry, registry
from serving_parts import answers, process
from test_object_store import credentials, free_ports, started

from ml.attestation import attest
from ml.attestation.verify import verify
from ml.contract import bundle as bundles
from ml.contract import release, verdict
from ml.contract.release import Release
from ml.contract.schema import record_type
from ml.delivery import image
from ml.delivery.image import ROLES
from ml.revision import commit
from ml.serving.server import free_port
from ml.store import files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TRAINING_ONLY = ("duckdb", "great_expectations", "kfp", "lightgbm", "matplotlib", "pandas", "scipy", "sklearn")
TRAINING_ONLY += ("skl2onnx", "whylogs")
LIMITS = {"serving": 200, "training": 500}  # MB, compressed
OFFICIAL = 50  # MB of them are the official base's, at most; the one made here is a larger Debian
HARDENED = ["--read-only", "--user", "10001:10001", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
HARDENED += ["--tmpfs", "/tmp", "--tmpfs", "/var/ml:uid=10001"]
REPLAY = "import sys; from ml.contract.bundle import load; print(load(*sys.argv[1:]).replay_golden())"


class Images(NamedTuple):
    """A running engine, and the image of each role in it."""

    engine: dict[str, str]
    names: dict[str, str]
    said: dict[str, str]

    def run(self, role: str, *words: object, entrypoint: str = "python3") -> str:
        """Run a command in an image as a cluster would, and return what it prints."""
        return docker(self.engine, "run", "--rm", *HARDENED, "--entrypoint", entrypoint, self.names[role], *words)


@pytest.fixture(scope="module")
def images() -> Iterator[Images]:
    with engines.engine() as engine:
        variables = {**engine, "ML_PROJECT_SLUG": "spam", "ML_IMAGE_BASE": engines.base(engine)}
        built = {role: ml("image", role, "--tag", "test", **variables) for role in ROLES}
        for ran in built.values():
            assert ran.returncode == 0, ran.stdout + ran.stderr[-4000:]
        names = {role: f"spam-{role}:test" for role in ROLES}
        yield Images(engine, names, {role: ran.stdout for role, ran in built.items()})


@pytest.mark.parametrize("role", ROLES)
def test_an_image_says_what_it_is_and_runs_as_nobody(images: Images, role: str) -> None:
    (found,) = json.loads(docker(images.engine, "inspect", images.names[role]))
    (line,) = images.said[role].splitlines()
    assert line.startswith(f"image     docker built spam-{role}:test, {found['Id']}, ")
    assert (found["Config"]["User"], found["Config"]["Entrypoint"]) == ("10001:10001", ["ml"])
    assert found["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    labels = found["Config"]["Labels"]
    known = {"source": image._source(), "revision": commit() or "", "version": "1.0.0"}
    assert {name: labels[f"org.opencontainers.image.{name}"] for name in known} == known


@pytest.mark.parametrize("role", ROLES)
def test_an_image_cannot_install_or_compile_and_has_compiled_already(images: Images, role: str) -> None:
    asked = """
import importlib.util, pathlib, shutil
print([name for name in ("pip", "ensurepip") if importlib.util.find_spec(name)])
tools = ("pip", "pip3", "apt", "apt-get", "dpkg", "perl", "cc", "gcc", "make", "git", "curl")
print([name for name in tools if shutil.which(name)])
code = [file for place in ("/app", "/opt/venv") for file in pathlib.Path(place).rglob("*.py")]
print([str(file) for file in code if not pathlib.Path(importlib.util.cache_from_source(str(file))).exists()][:5])
"""
    assert images.run(role, "-c", asked).splitlines() == ["[]", "[]", "[]"]


def test_serving_and_stream_hold_no_training_library(images: Images) -> None:
    asked = f"import importlib.util; print([name for name in {TRAINING_ONLY} if importlib.util.find_spec(name)])"
    assert images.run("serving", "-c", asked) == images.run("stream", "-c", asked) == "[]\n"
    assert images.run("training", "-c", asked) == f"{list(TRAINING_ONLY)}\n", "else nothing was looked for"


@contextmanager
def serving(images: Images, bundle: tuple[str, str], store: Path, **variables: str) -> Iterator[tuple[str, str]]:
    """Run the image of the role serving with a bundle mounted; yields the container and where it answers."""
    copy_of_bundle(bundle, store)
    given = {"ML_RELEASE_BUNDLE": bundle[1], "ML_SERVE_DRAIN_SECONDS": "2", **variables}
    words = [word for name, value in given.items() for word in ("--env", f"{name}={value}")]
    port = free_port()
    words += ["--memory", "512m", "--publish", f"127.0.0.1:{port}:3000", "--volume", f"{store}:/var/ml/store:ro"]
    command = ["serve", "--host", "0.0.0.0", "--port", "3000"]
    container = docker(images.engine, "run", "--detach", *HARDENED, *words, images.names["serving"], *command).strip()
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: ready(url), lambda: docker(images.engine, "logs", container))
        yield container, url
    finally:
        docker(images.engine, "rm", "--force", container)


def ready(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    return False


def until(true, why) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, why()
        time.sleep(0.1)


def test_a_container_without_rights_scores_golden_records_as_the_laptop_does(
    images: Images, bundle: tuple[str, str], tmp_path: Path
) -> None:
    golden = [each["record"] for each in bundles.load(*bundle).golden]
    with serving(images, bundle, tmp_path / "store") as (container, url):
        found = httpx.post(f"{url}/predict", json=golden, timeout=60).json()
        state = json.loads(docker(images.engine, "inspect", container))[0]["State"]
    with process(bundle, tmp_path / "here") as here:
        expected = answers(here, [record_type().model_validate_json(json.dumps(record)) for record in golden])
    assert len(found) == len(golden) == 64
    assert [each["score"] for each in found] == pytest.approx([each["score"] for each in expected], abs=1e-6)
    assert {each["bundle"] for each in found} == {bundle[1]}
    assert not state["OOMKilled"]


def test_told_to_end_it_answers_all_that_was_asked_says_so_and_exits_with_nothing_wrong(
    images: Images, bundle: tuple[str, str], tmp_path: Path
) -> None:
    (golden, *_) = bundles.load(*bundle).golden
    statuses: list[int] = []
    with serving(images, bundle, tmp_path / "store", ML_LOG_FORMAT="json") as (container, url):
        ending = threading.Event()

        def ask() -> None:
            while not ending.is_set():
                statuses.append(httpx.post(f"{url}/predict", json=[golden["record"]] * 500, timeout=60).status_code)

        asking = [threading.Thread(target=ask) for _ in range(4)]
        for thread in asking:
            thread.start()
        until(lambda: len(statuses) > 8, lambda: "no answers")
        docker(images.engine, "kill", "--signal", "TERM", container)
        until(lambda: httpx.get(f"{url}/readyz").status_code == 503, lambda: "it does not say that it drains")
        before = len(statuses)
        time.sleep(0.5)
        ending.set()  # as a balancer does that has seen it
        for thread in asking:
            thread.join()
        assert docker(images.engine, "wait", container).strip() == "0"
        lines = docker(images.engine, "logs", container).splitlines()
    assert len(statuses) >= before + 4
    assert set(statuses) == {200}
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(json.loads(line)) for line in lines))


def test_the_pipeline_in_containers_makes_the_bundle_and_the_verdict_of_the_laptop(
    images: Images, bundle: tuple[str, str], lake: str, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    ran = ml("pipeline", "run", "--image", images.names["training"], **images.engine, ML_STORE_URL=store)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    here, there = bundles.load(*bundle), bundles.load(str(store), bundles.newest(str(store)))
    assert there.manifest["provenance"] == here.manifest["provenance"], "the same code, data and locks"
    assert [each["record"] for each in there.golden] == [each["record"] for each in here.golden]
    scores = [[each["score"] for each in made.golden] for made in (here, there)]
    assert scores[1] == pytest.approx(scores[0], abs=1e-6)
    judged = [verdict.load(at, made.digest, made.baseline) for at, made in ((bundle[0], here), (str(store), there))]
    assert judged[1].answer == judged[0].answer
    assert [(each.name, each.answer) for each in judged[1].checks] == [
        (each.name, each.answer) for each in judged[0].checks
    ]
    assert docker(images.engine, "ps", "--all", "--quiet") == "", "no container is left"


def test_a_step_that_fails_in_a_container_says_its_own_sentence(images: Images, lake: str, tmp_path: Path) -> None:
    window = ["--since", "2012-01-01", "--until", "2012-01-02"]
    ran = ml("pipeline", "run", *window, "--image", images.names["training"], **images.engine, ML_STORE_URL=tmp_path)
    assert one_line(ran).startswith("error: data: ")


def test_a_run_that_is_interrupted_leaves_no_container(images: Images, lake: str, tmp_path: Path) -> None:
    variables = {**os.environ, **images.engine, "ML_STORE_URL": str(tmp_path)}
    command = [sys.executable, "-m", "ml", "pipeline", "run", "--image", images.names["training"]]
    running = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until(lambda: docker(images.engine, "ps", "--quiet"), lambda: "no step began")
    running.terminate()
    running.wait(60)
    assert docker(images.engine, "ps", "--all", "--quiet") == ""


def test_bundles_come_from_an_object_store(
    images: Images, bundle: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with started(tmp_path_factory.mktemp("seaweed"), *free_ports(1)) as there:
        with configured(**credentials(there)):
            for file in Path(bundles.folder(*bundle)).iterdir():
                files.write(f"s3://{there.bucket}/bundles/{bundle[1]}/{file.name}", file.read_bytes())
        given = [word for name, value in credentials(there).items() for word in ("--env", f"{name}={value}")]
        program = (
            f"from ml.contract.bundle import load; print(load('s3://{there.bucket}', '{bundle[1]}').replay_golden())"
        )
        words = ["--network", "host", *given, "--entrypoint", "python3", images.names["serving"], "-c", program]
        assert docker(images.engine, "run", "--rm", *HARDENED, *words) == "64\n"


def test_the_stream_reads_and_writes_below_its_two_places(images: Images) -> None:
    words = ["--env", "ML_STREAM_INBOX=/var/ml/inbox", images.names["stream"], "stream", "--once"]
    said = docker(images.engine, "run", "--rm", *HARDENED, *words).splitlines()
    assert said[-1].startswith("stream    read 0 events; updates: 0 folded")


def test_a_bundle_travels_in_an_image_where_there_is_no_store(
    images: Images, bundle: tuple[str, str], tmp_path: Path
) -> None:
    copy_of_bundle(bundle, tmp_path / "store")
    (tmp_path / "Dockerfile").write_text(f"FROM {images.names['serving']}\nCOPY store /app/bundles-store\n")
    docker(images.engine, "build", "--tag", "spam-whole:test", tmp_path)
    words = ["--network", "none", "--entrypoint", "python3", "spam-whole:test", "-c", REPLAY]
    assert docker(images.engine, "run", "--rm", *HARDENED, *words, "/app/bundles-store", bundle[1]) == "64\n"


class Built(NamedTuple):
    """A project whose images image.yml has built, the registry that it pushed them to, and what was released before."""

    flow: Flow
    registry: Registry
    released: Release

    @property
    def proposed(self) -> Release:
        """What the pull request would let staging run, or has let it run since."""
        return Release.model_validate(self.flow.release("staging", "promote/staging"))


@pytest.fixture(scope="module")
def built(images: Images, bundle: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    home, released = tmp_path_factory.mktemp("built"), Release(champion=bundle[1])
    copy_of_bundle(bundle, home / "store")
    with github(home / "hub.git") as hub, registry() as there:
        flow = begun(hub, home, {}, dict.fromkeys(("laptop", "staging"), (free_port(), free_port())))
        with flow.at("laptop"):  # where it was judged
            attest.attest(released.champion, None)
        release_by_hand(flow, released)
        seen = {**images.engine, "ML_PROJECT_SLUG": "spam", "ML_IMAGE_BASE": engines.BASE}
        seen["PATH"] = f"{images.engine['PATH']}:{Path(sys.executable).parent}"  # where trivy is
        ran = flow.build(f"{there.address}/Team", USER, PASSWORD, **seen)
        assert ran.returncode == 0, ran.stdout
        yield Built(flow, there, released)


def release_by_hand(flow: Flow, told: Release) -> str:
    """Let a person release in staging; returns the commit before."""
    return flow.commit("Know better", {"environments/staging/release.yaml": release.text(told)})


def test_what_a_commit_changes_is_built_and_proposed_by_the_digests_of_the_registry(
    images: Images, built: Built
) -> None:
    told = built.proposed
    assert told == built.released.model_copy(update={"images": told.images})
    assert told.plan == built.released.plan
    assert list(told.images) == ["serving", "training"]
    for role, pinned in told.images.items():
        name, _, digest = pinned.partition("@")
        assert name == f"{built.registry.address}/team/spam-{role}"
        content = built.registry.ask(pinned).raise_for_status().content
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
        assert built.registry.ask(pinned, auth=None).status_code == 401
        (found,) = json.loads(docker(images.engine, "inspect", pinned))
        assert found["Config"]["Labels"]["org.opencontainers.image.revision"] == built.flow.runs.hub.main


@pytest.mark.skipif(platform.machine() != "x86_64", reason="no wheel of trivy")
def test_what_is_in_the_registry_is_listed_library_by_library(built: Built) -> None:
    def listed(role: str) -> set[str]:
        found = json.loads((built.flow.runs.artifacts / f"sbom-{role}" / "sbom.spdx.json").read_bytes())
        return {package["name"] for package in found["packages"]}

    assert "onnxruntime" in listed("serving") & listed("training")
    assert "lightgbm" in listed("training") - listed("serving")


@pytest.mark.parametrize("role", LIMITS)
def test_an_image_is_small_enough(built: Built, role: str) -> None:
    layers = built.registry.ask(built.proposed.images[role]).json()["layers"]
    ours = [layer["size"] / 1e6 for layer in layers[1:]]
    assert sum(ours) <= LIMITS[role] - OFFICIAL, ours


def test_an_image_that_image_yml_has_attested_is_deployed_and_no_other_of_the_registry(
    images: Images, built: Built, tmp_path: Path
) -> None:
    told, flow = built.proposed, built.flow
    pull = flow.proposed("staging")
    assert pull["title"] == "staging: another image of serving, training"
    flow.merge(pull)
    with flow.at("staging"):
        assert verify("staging") == told

    # somebody who may push pushes
    name = f"{told.images['serving'].partition('@')[0]}:mine"
    (tmp_path / "Dockerfile").write_text(f"FROM {told.images['serving']}\nENV PYTHONPATH=/var/ml\n")
    engine = {**images.engine, "DOCKER_CONFIG": str(flow.runs.home / ".docker")}
    docker(engine, "build", "--tag", name, tmp_path)
    docker(engine, "push", name)
    (found,) = json.loads(docker(engine, "inspect", name))
    (mine,) = found["RepoDigests"]
    harm = told.model_copy(update={"images": {**told.images, "serving": mine}})
    ran = flow.deploy(release_by_hand(flow, harm), "staging")
    assert ran.returncode == 1, ran.stdout
    assert f"spam-serving {mine[-64:-52]} is not attested" in ran.stdout


def test_without_docker_a_run_in_containers_says_what_to_do(tmp_path: Path) -> None:
    nowhere = f"unix://{tmp_path}/none"
    line = one_line(ml("pipeline", "run", "--image", "spam", DOCKER_HOST=nowhere, ML_STORE_URL=tmp_path))
    assert line.startswith("error: pipeline: Docker does not answer: ")
    assert line.endswith("start it, or leave out --image")
