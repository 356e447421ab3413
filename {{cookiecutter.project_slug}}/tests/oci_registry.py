"""A registry of images on this machine, behind a password: Debian's build of the one that Docker publishes."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import yaml

from ml.serving.server import free_port

USER, PASSWORD = "ada", "a-password"
LETS_IN = f"{USER}:$2b$04$cDGlISSQclFG.KRP.Hd6GegBG0ISiEfHUTkpuU9Un6OYB.qe5P2tu\n"  # as `htpasswd -nbB` says it
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry(NamedTuple):
    """Where a registry answers; Docker, and others, take plain HTTP from this machine's own address."""

    address: str

    def ask(self, image: str, auth: tuple[str, str] | None = (USER, PASSWORD)) -> httpx.Response:
        """Ask for the manifest of an image, by whatever name."""
        name, _, digest = image.removeprefix(f"{self.address}/").partition("@")
        url = f"http://{self.address}/v2/{name}/manifests/{digest}"
        return httpx.get(url, headers={"Accept": MANIFEST}, auth=auth)


@contextmanager
def registry() -> Iterator[Registry]:
    """Run a registry, and leave nothing behind; skips where none is installed."""
    if not shutil.which("docker-registry"):
        pytest.skip("no registry: `apt-get install docker-registry`")
    with tempfile.TemporaryDirectory(prefix="registry-") as home:
        there, log, alone = Registry(f"127.0.0.1:{free_port()}"), Path(home) / "log", {"PATH": os.environ["PATH"]}
        with log.open("wb") as said:  # alone, because a variable REGISTRY_… would change its settings
            command = ["docker-registry", "serve", configured(Path(home), there.address)]
            serving = subprocess.Popen(command, env=alone, stdout=said, stderr=said)
        try:
            until_it_answers(there.address, serving, log)
            yield there
        finally:
            serving.terminate()
            serving.wait(60)


def configured(home: Path, address: str) -> Path:
    """Write the settings of a registry that keeps all in a folder; returns their file."""
    (home / "users").write_text(LETS_IN)
    told = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(home / "images")}},
        "http": {"addr": address},
        "auth": {"htpasswd": {"realm": "tests", "path": str(home / "users")}},
    }
    (home / "settings.yml").write_text(yaml.safe_dump(told))
    return home / "settings.yml"


def until_it_answers(address: str, serving: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with suppress(httpx.TransportError):
            if httpx.get(f"http://{address}/v2/").status_code == 401:
                return
        assert serving.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]  # noqa: PT018
        time.sleep(0.05)
