"""What was started here is ended, with all that it has started, whatever that has done to stay."""

import subprocess
import sys
import time
from pathlib import Path

from ml import processes

# Starts a child in a session of its own; both ignore polite requests to end.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, __file__, "child"], start_new_session=True)
    print(child.pid, flush=True)
time.sleep(60)
"""


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_is_ended_with_the_children_that_left_its_session(tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    parent = subprocess.Popen([sys.executable, tmp_path / "stubborn.py"], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert processes.children(parent.pid) == [child]
    processes.end(parent.pid)
    parent.wait(10)
    deadline = time.monotonic() + 10
    while running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(child)


def test_ending_what_has_ended_is_no_error() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    processes.end(gone.pid)


def test_a_process_is_told_from_another_and_from_none() -> None:
    first = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    began = processes.began(first.pid)
    assert began == processes.began(first.pid)
    assert began != processes.began(1)
    first.kill()
    deadline = time.monotonic() + 10
    while processes.began(first.pid) and time.monotonic() < deadline:  # nobody has waited for it
        time.sleep(0.05)
    assert processes.began(first.pid) is None
    first.communicate()
