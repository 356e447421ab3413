"""The demo needs no network and tries none, sees spring quiet and summer not, and leaves nothing when interrupted."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from demos import left_running, put_in_other_problem, started

pytestmark = pytest.mark.slow

UNSHARE = ["unshare", "--map-root-user", "--net"]

# Brings up the loopback interface, the only one of an empty network namespace, runs its arguments, and tells how
# often the kernel was asked for a way to anywhere else.
ALONE = """
import fcntl, re, socket, struct, subprocess, sys
assert [name for _, name in socket.if_nameindex()] == ["lo"]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 1))
code = subprocess.call(sys.argv[1:])
names, values = [line.split() for line in open("/proc/net/snmp") if line.startswith("Ip:")]
print("attempts to leave:", dict(zip(names, values))["OutNoRoutes"])
sys.exit(code)
"""


def refused() -> str | None:
    """Return why this machine gives no empty network namespace, or None where it does."""
    try:
        ran = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unshare is not installed (apt-get install -y util-linux)"
    return ran.stderr.strip() if ran.returncode else None


@pytest.fixture
def alone() -> list[str]:
    """The words that run a command with no network but the loopback."""
    if why := refused():
        pytest.skip(
            f"no empty network namespace: {why}; un-skip with `sysctl -w kernel.unprivileged_userns_clone=1 "
            "kernel.apparmor_restrict_unprivileged_userns=0`, in a container with `docker run --privileged`"
        )
    return [*UNSHARE, sys.executable, "-c", ALONE]


def test_an_attempt_to_leave_would_be_counted(alone: list[str]) -> None:
    call = "import socket; socket.socket().connect_ex(('192.0.2.1', 80))"
    ran = subprocess.run([*alone, sys.executable, "-c", call], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "attempts to leave: 1"


def test_the_demo_runs_without_network_and_sees_april_quiet_and_july_not(
    alone: list[str], project: Path, lake: str
) -> None:
    with started(project, *alone, ML_DATA_URL=lake) as demo:
        out, errors = demo.communicate()
        left = left_running(demo, project)
    assert demo.returncode == 0, out + errors
    assert not left
    verdicts = dict(re.findall(r"^│ monitor (\S+) +│ (\w+)", out, re.MULTILINE))
    assert verdicts == {"2013-05-14": "quiet", "2013-05-28": "quiet", "2013-07-21": "alarm"}
    tried = dict(re.findall(r"^│ (shadow|canary) \S+ +│ (\w+)", out, re.MULTILINE))
    assert tried["shadow"] == "pass"
    assert tried["canary"] in ("pass", "inconclusive")
    assert re.search(r"^│ champion now +│ lightgbm", out, re.MULTILINE)
    assert re.search(r"^│ how good +│ ROC-AUC 0\.\d{3}", out, re.MULTILINE)
    assert re.search(r"^│ gate +│ pass, better than constant", out, re.MULTILINE)
    assert out.count("monitor.html") >= 2
    assert "attempts to leave: 0" in out


def to_group(process: "subprocess.Popen[str]", number: int) -> None:
    """As a terminal does when Ctrl-C is pressed: to the demo and the step it runs."""
    os.killpg(process.pid, number)


def to_one(process: "subprocess.Popen[str]", number: int) -> None:
    """As a supervisor does: to the demo alone."""
    os.kill(process.pid, number)


@pytest.mark.parametrize("after", ["ingest", "serve"])
@pytest.mark.parametrize(
    ("send", "number"),
    [(to_group, signal.SIGINT), (to_one, signal.SIGTERM)],
    ids=["ctrl-c", "sigterm"],
)
def test_an_interrupted_demo_says_so_in_one_line_and_leaves_nothing(project: Path, send, number: int, after) -> None:
    put_in_other_problem(project)  # takes half the time
    with started(project) as demo:
        for line in demo.stdout:
            if line.startswith(after):
                break
        time.sleep(0.5)  # in the middle of the next step, or of the replay
        send(demo, number)
        out, errors = demo.communicate(timeout=30)
        left = left_running(demo, project)
    assert demo.returncode == 130, out + errors
    assert errors.splitlines() == ["interrupted: what this verb started has been ended"]
    assert not left
    assert not list(project.glob("store/pipeline/.steps-*"))
