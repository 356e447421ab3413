"""Runs the demo of a copy of the project as a person would, and finds what it leaves running."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import QUIET

OTHER = Path(__file__).with_name("other_problem")
MARK = "STARTED_BY_TEST"  # inherited by every process of a demo, also by those that leave its session


def put_in_other_problem(project: Path) -> None:
    """Replace the problem of a copy of the project, and its project.toml, by the second problem."""
    shutil.rmtree(project / "ml/problem")
    shutil.copytree(OTHER, project / "ml/problem", ignore=shutil.ignore_patterns("__pycache__"))
    (project / "ml/problem/project.toml").replace(project / "project.toml")


def environment(project: Path, **variables: str) -> dict[str, str]:
    """Return what a demo of the copy sees: its own code and settings, a mark, nothing that keeps libraries quiet."""
    others = {name: value for name, value in os.environ.items() if name not in QUIET and not name.startswith("ML_")}
    return others | {"PYTHONPATH": str(project), MARK: str(project)} | variables


@contextmanager
def started(project: Path, *before: str, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """Start the demo in a session of its own, behind the words `before`; what is left of it is killed at the end."""
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "ml", "demo"],
        cwd=project,
        env=environment(project, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for left in running(process.pid, project):
            os.kill(left, signal.SIGKILL)
        process.communicate()


def running(session: int, project: Path) -> list[int]:
    """Return the processes of a session, or with the project's mark, that have not ended."""
    mark = f"{MARK}={project}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, of_session = (folder / "stat").read_text().rpartition(") ")[2].split()[:4]
            marked = mark in (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile, or is another user's
            continue
        if state != "Z" and (marked or int(of_session) == session):
            found.append(int(folder.name))
    return found


def left_running(process: "subprocess.Popen[str]", project: Path, patience: float = 5) -> list[int]:
    """Return what still runs of an ended demo, a moment later: the kernel needs one to take processes away."""
    deadline = time.monotonic() + patience
    while (left := running(process.pid, project)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left
