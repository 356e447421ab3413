"""What people know of BentoML holds: `bentoml build` makes a bento, and `bentoml serve` answers from it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, copy_of_bundle
from serving_parts import answers, process

from ml import processes
from ml.contract.schema import record_type
from ml.problem.schema import EXAMPLE
from ml.serving.server import free_port

pytestmark = pytest.mark.slow

TOOLS = str(Path(sys.executable).parent)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where BentoML keeps its things, and the tag of the bento that it made of the project."""
    home = tmp_path_factory.mktemp("bentoml")
    variables = {"BENTOML_HOME": str(home), "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    ran = subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return home, ran.stdout.strip().removeprefix("__tag__:")


def test_a_bento_holds_the_code_and_the_locked_libraries(built: tuple[Path, str]) -> None:
    bento = built[0] / "bentos" / built[1].replace(":", "/")
    source = {file.relative_to(bento / "src") for file in (bento / "src").rglob("*") if file.is_file()}
    code = {file.relative_to(ROOT) for file in (ROOT / "ml").rglob("*") if file.is_file()}
    assert source - {Path("bentofile.yaml")} == {file for file in code if "__pycache__" not in file.parts} | {
        Path("project.toml")
    }
    wanted = (bento / "env/python/requirements.txt").read_text()
    assert "onnxruntime==" in wanted
    assert wanted.count("--hash=sha256:") == (ROOT / "requirements/serving.txt").read_text().count("--hash=sha256:")


def test_a_prediction_is_answered_from_the_bento(
    built: tuple[Path, str], bundle: tuple[str, str], tmp_path: Path
) -> None:
    home, tag = built
    copy_of_bundle(bundle, tmp_path / "store")
    variables = {"BENTOML_HOME": str(home), "BENTOML_CONTAINERIZED": "1", "ML_STORE_URL": str(tmp_path / "store")}
    variables |= {"ML_RELEASE_BUNDLE": bundle[1], "ML_SERVE_OUTCOMES_PORT": str(free_port())}
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1", "--port", url.rpartition(":")[2]]
    with (tmp_path / "log").open("wb") as log:
        served = subprocess.Popen(command, cwd=tmp_path, env=os.environ | variables, stdout=log, stderr=log)
    try:
        wait(url, served, tmp_path / "log")
        (worker,) = processes.children(served.pid)
        assert Path(f"/proc/{worker}/cwd").readlink() == home / "bentos" / tag.replace(":", "/") / "src"
        answer = httpx.post(f"{url}/predict", json=EXAMPLE).json()
    finally:
        processes.end(served.pid)
        served.wait()
    with process(bundle, tmp_path / "here") as here:
        (expected,) = answers(here, [record_type().model_validate_json(json.dumps(EXAMPLE))])
    assert (answer["score"], answer["bundle"]) == (pytest.approx(expected["score"], abs=1e-6), bundle[1])


def wait(url: str, served: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and served.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())
