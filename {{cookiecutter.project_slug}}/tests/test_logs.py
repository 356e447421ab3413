"""The log as JSON: every line of a verb that runs on is one object, whoever wrote it; as text nothing changes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, copy_of_bundle, ml

from ml.problem.schema import EXAMPLE
from ml.serving.server import free_port

PROGRAM = """
import logging, threading, warnings
logging.basicConfig(format="%(message)s")
logging.getLogger("uvicorn.error").addHandler(logging.StreamHandler())
from ml import logs
from ml.progress import say
logs.configure()
say("stream", "read 7 events")
logging.getLogger("uvicorn.error").warning("a line\\nand another")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("ml.serving").exception("a request could not be answered")
warnings.warn("soon gone", FutureWarning)
thread = threading.Thread(target=lambda: {}["thread"])
thread.start()
thread.join()
raise ValueError("the end")
"""


def run(**variables: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | variables
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def parsed(text: str) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    return lines


def test_what_verbs_libraries_warnings_and_crashes_say_is_one_object_a_line() -> None:
    ran = run(ML_LOG_FORMAT="json")
    lines = parsed(ran.stdout)
    assert (ran.returncode, ran.stderr) == (1, "")
    said = [(line["level"], line["logger"], line["message"]) for line in lines]
    assert said[:3] == [
        ("INFO", "ml.stream", "read 7 events"),
        ("WARNING", "uvicorn.error", "a line\nand another"),
        ("ERROR", "ml.serving", "a request could not be answered"),
    ]
    assert "FutureWarning: soon gone" in said[3][2]
    ends = [line.get("exception", "").rpartition("\n")[2] for line in lines]
    assert ends == ["", "", "ZeroDivisionError: division by zero", "", "KeyError: 'thread'", "ValueError: the end"]


def test_as_text_a_log_is_what_it_was() -> None:
    ran = run()
    assert ran.stdout == "stream    read 7 events\n"
    assert ran.stderr.startswith("a line\nand another\n")
    assert "Traceback" in ran.stderr


def test_an_error_of_such_a_verb_is_an_object_too(tmp_path: Path) -> None:
    ran = ml("serve", ML_LOG_FORMAT="json", ML_RELEASE_FOLDER=tmp_path, ML_STORE_URL=tmp_path)
    (line,) = parsed(ran.stdout)
    assert (ran.returncode, ran.stderr, line["level"]) == (1, "", "ERROR")
    assert line["message"].endswith("nothing is released. Run `ml release`")


@pytest.mark.slow
def test_the_service_logs_nothing_else_from_start_to_end(bundle: tuple[str, str], tmp_path: Path) -> None:
    copy_of_bundle(bundle, tmp_path / "store")
    port = free_port()
    variables = {"ML_STORE_URL": str(tmp_path / "store"), "ML_RELEASE_BUNDLE": bundle[1], "ML_LOG_FORMAT": "json"}
    variables |= {"ML_SERVE_OUTCOMES_PORT": str(free_port()), "ML_SERVE_DRAIN_SECONDS": "0.5"}
    command = [sys.executable, "-m", "ml", "serve", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        served = subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stdout=log, stderr=log)
    try:
        ready(f"http://127.0.0.1:{port}", served)
        assert httpx.post(f"http://127.0.0.1:{port}/predict", json=EXAMPLE).status_code == 200
        assert httpx.get(f"http://127.0.0.1:{port}/schema.json").status_code == 200  # BentoML answers
        served.send_signal(signal.SIGTERM)
        served.wait(30)
    finally:
        served.kill()
        served.wait()
    lines = parsed((tmp_path / "log").read_text())
    assert {"ml.serve", "ml.serving", "bentoml.access"} <= {line["logger"] for line in lines}
    assert "draining for 0.5 seconds" in [line["message"] for line in lines]


def ready(url: str, served: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert served.poll() is None, "the service has ended"
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError("the service did not become ready")
