"""A registry of our own, Debian's docker-registry on a free port of 127.0.0.1, which asks for a password."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

USER = "Ada"
TOKEN = r"a\new-token"  # which an `echo` of some shells would break in two
BCRYPT = "$2b$04$6MuX8IGDBgBsLRZ0NmFQx.kAeJ5IuicfOL8e7JJtAxLYJB8Rr9sFW"  # of the token
CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "{host}"{tls}}}
auth: {{htpasswd: {{realm: here, path: {folder}/passwords}}}}
"""
CERTIFICATE = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=registry"


class Registry(NamedTuple):
    """A registry's address, and the variables by which programs trust it and keep its password to themselves."""

    host: str
    variables: dict[str, str]


@contextmanager
def registry(folder: Path, tls: bool = False) -> Iterator[Registry]:
    """Run a registry that keeps all in a folder; where it cannot be run, the test is skipped."""
    for program, package in {"docker-registry": "docker-registry", "docker": "docker.io"}.items():
        if not shutil.which(program):
            pytest.skip(f"There is no {program}: apt-get install {package}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    if tls:
        files = ["-keyout", key, "-out", certificate, "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run(["openssl", *CERTIFICATE.split(), *files], check=True, capture_output=True)
    told = f", tls: {{certificate: {certificate}, key: {key}}}" if tls else ""
    (folder / "config.yaml").write_text(CONFIG.format(folder=folder, host=host, tls=told))
    (folder / "passwords").write_text(f"{USER}:{BCRYPT}\n")
    alone = {"PATH": os.environ["PATH"]}  # a variable REGISTRY_… would change the settings
    command = ["docker-registry", "serve", folder / "config.yaml"]
    process = subprocess.Popen(command, env=alone, stderr=subprocess.DEVNULL)
    try:
        wait(process, host)
        home = {"HOME": str(folder)} | ({"SSL_CERT_FILE": str(certificate)} if tls else {})
        yield Registry(host, {"PATH": os.environ["PATH"], **home})
    finally:
        process.terminate()
        process.wait()


def wait(process: subprocess.Popen, host: str) -> None:
    """Return once a process listens."""
    name, _, port = host.partition(":")
    while process.poll() is None:
        try:
            return socket.create_connection((name, int(port))).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError("docker-registry has ended: run it alone, it says why")
