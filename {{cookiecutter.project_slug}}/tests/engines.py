"""A Docker engine of the tests' own, and the image that ours are built from where no registry can be reached."""

import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

BASE = "base:test"
PACKAGES = "ca-certificates,python3,python3-pip,python3-venv"
NO_RULES = "*filter\n:FORWARD ACCEPT\nCOMMIT\n*nat\n:POSTROUTING ACCEPT\nCOMMIT\n"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def docker(engine: Mapping[str, str], *words: object) -> str:
    """Let the engine do something, and return what it prints."""
    ran = subprocess.run(
        ["docker", *map(str, words)], env=os.environ | dict(engine), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, f"docker {words}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}"
    return ran.stdout


@contextmanager
def engine() -> Iterator[dict[str, str]]:
    """Run Docker on a private socket; yields the variables by which clients find it, and leaves nothing behind."""
    if os.getuid() or not all(map(shutil.which, ("docker", "dockerd", "debootstrap", "iptables"))):
        pytest.skip("no Docker engine: run as root, after `apt-get install docker.io debootstrap iptables`")
    with tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True) as home:
        bridged = Path("/sys/class/net/docker0").exists()
        rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
        socket = f"unix://{home}/socket"
        places = [f"--data-root={home}/data", f"--exec-root={home}/exec", f"--pidfile={home}/pid", f"--host={socket}"]
        with (Path(home) / "log").open("wb") as log:
            daemon = subprocess.Popen(["dockerd", *places], stdout=log, stderr=log)
        try:
            until_it_answers({"DOCKER_HOST": socket}, daemon, Path(home) / "log")
            yield {"DOCKER_HOST": socket, "DOCKER_BUILDKIT": "1", "PATH": f"/usr/bin:{os.environ['PATH']}"}
        finally:
            daemon.terminate()
            daemon.wait(60)
            for line in reversed(Path("/proc/mounts").read_text().splitlines()):
                if (place := line.split()[1]).startswith(home):
                    subprocess.run(["umount", "--lazy", place], check=True)
            if not bridged:
                subprocess.run(["ip", "link", "delete", "docker0"], check=False)
            subprocess.run(["iptables-restore"], input=rules or NO_RULES, text=True, check=True)


def until_it_answers(engine: Mapping[str, str], daemon: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    command = ["docker", "version"]
    while subprocess.run(command, env=os.environ | dict(engine), capture_output=True, check=False).returncode:
        assert daemon.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]  # noqa: PT018
        time.sleep(0.2)


def base(engine: Mapping[str, str]) -> str:
    """Make a Debian with a Python out of packages, and return the name of its image; skips without Debian's mirror."""
    codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    with tempfile.TemporaryDirectory(prefix="base-") as root:
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", codename, root, mirror(codename)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"no base image can be made of Debian's packages: {made.stdout[-200:]}")
        shutil.copy(AUTHORITIES, f"{root}{AUTHORITIES}")  # who is trusted here, is there
        shutil.rmtree(f"{root}/var/cache/apt/archives")
        tar = subprocess.Popen(["tar", "--directory", root, "--create", "."], stdout=subprocess.PIPE)
        subprocess.run(["docker", "import", "-", BASE], env=os.environ | dict(engine), stdin=tar.stdout, check=True)
        assert tar.wait() == 0
    return BASE


def mirror(codename: str) -> str:
    """Return the address from which apt itself takes the packages of this Debian."""
    asked = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
    return next((line.split()[1] for line in told if line.startswith(f"{codename} ")), "http://deb.debian.org/debian")
