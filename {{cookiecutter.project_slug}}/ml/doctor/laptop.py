"""What a machine is asked on which verbs run, and the service beside them."""

import re
import shutil
import socket
import subprocess
import sys
import uuid
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ml.doctor.check import Doubt
from ml.errors import ContractError
from ml.settings import ROOT, settings
from ml.store import files

PYTHONS = ((3, 11), (3, 12))
DISK, MEMORY = 5, 2  # GB, for a lake, bundles and reports, and for training
LOCKS = ("training", "serving")  # what scripts/demo installs
PIN = re.compile(r"^([a-z0-9-]+)==([^\s;]+)( ;)?", re.MULTILINE)


def python() -> str:
    """Is it a Python that the locks were made for?"""
    if sys.version_info[:2] not in PYTHONS:
        broken = f"{sys.version_info[0]}.{sys.version_info[1]} is not supported, 3.11 and 3.12 are"
        raise ContractError("Python", broken, "Remove .venv, then PYTHON=python3.12 scripts/demo")
    return f"Python {sys.version.split()[0]}"


def disk() -> str:
    """Is there room in the store?"""
    url = settings().store_url
    if "://" in url:
        return f"the store is {url}, and needs no disk here"
    there = next(folder for folder in (Path(url), *Path(url).parents) if folder.exists())
    free = shutil.disk_usage(there).free / 2**30
    if free < DISK:
        broken = f"{free:.1f} GB are free in {there}, {DISK} are wanted"
        raise ContractError("disk", broken, "Free some, or let [store] url in project.toml lie elsewhere")
    return f"{free:.0f} GB of disk are free in {there}"


def memory(told: Path = Path("/proc/meminfo")) -> str:
    """Is there memory to train in?"""
    free = int(re.findall(r"MemAvailable: +(\d+) kB", told.read_text())[0]) / 2**20
    if free < MEMORY:
        raise Doubt("memory", f"{free:.1f} GB are free, {MEMORY} are wanted", "End what you can do without")
    return f"{free:.1f} GB of memory are free"


def locks() -> str:
    """Is installed what the locks say?"""
    pins = {found[0]: found for lock in LOCKS for found in PIN.findall(_lock(lock).read_text())}
    for name, pinned, conditional in pins.values():
        try:
            there = version(name)
        except PackageNotFoundError:
            if conditional:  # for another platform, perhaps
                continue
            there = "absent"
        if there != pinned:
            broken = f"{name} is {there}, the locks say {pinned}"
            raise ContractError("locks", broken, "Run scripts/test, which installs what requirements/ says")
    return f"{len(pins)} packages are installed as {' and '.join(f'{lock}.txt' for lock in LOCKS)} say"


def store() -> str:
    """Can the store be written?"""
    url = settings().store_url
    if "://" not in url:
        files.local(url, "verbs")
    probe = files.join(url, f"doctor-{uuid.uuid4().hex}")
    files.write(probe, b"")
    files.remove(probe)
    return f"{url} can be written"


def ports() -> str:
    """Are the ports free on which `ml serve` would listen?"""
    serve = settings().serve
    for name, port in (("port", serve.port), ("outcomes_port", serve.outcomes_port)):
        try:
            socket.create_server((serve.host, port)).close()
        except OSError as error:
            mend = f"End what listens there (ss -ltnp 'sport = :{port}'), or change [serve] {name} in project.toml"
            raise ContractError("ports", f"{serve.host}:{port} cannot be used: {error.strerror}", mend) from error
    return f"ports {serve.port} and {serve.outcomes_port} of {serve.host} are free"


def charts() -> str:
    """Did the charts arrive, which come through a link that zip archives lose?"""
    if not (ROOT / "charts" / "serving" / "Chart.yaml").is_file():
        mend = "Generate anew from the template's git address, or git clone -c core.symlinks=true"
        raise ContractError("charts", f"{ROOT / 'charts'} holds no charts", mend)
    return "the charts are there"


def git() -> str:
    """Is the project in a git repository, by which a bundle knows where it comes from?"""
    if not shutil.which("git"):
        raise ContractError("git", "it is not there", "Get it with: sudo apt-get install -y git")
    found = subprocess.run(["git", "-C", ROOT, "rev-parse", "--show-toplevel"], capture_output=True, check=False)
    if found.returncode:
        raise Doubt("git", f"{ROOT} is no repository, so bundles name no commit", "git init && git add . && git commit")
    return "the project is in a git repository"


def _lock(role: str) -> Path:
    return ROOT / "requirements" / f"{role}.txt"


CHECKS = (python, disk, memory, locks, store, ports, charts, git)
