"""Builds the image of a role, from the project's one Dockerfile, with whichever engine is there."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from typing import Any

from ml.errors import ContractError
from ml.github import workflow
from ml.progress import say
from ml.revision import commit, git
from ml.settings import ROOT, settings

ROLES = ("training", "serving", "stream")  # the targets of the Dockerfile
ENGINES = ("docker", "podman", "buildah")  # in this order; all know the same `build`
LABEL = "org.opencontainers.image."  # https://github.com/opencontainers/image-spec/blob/main/annotations.md


def build(role: str, tag: str | None, push: bool) -> None:
    """Build a role's image from the project as it stands, and push it; says its name, what names its bytes, its size.

    A workflow gets as outputs `name` and `digest` of what was pushed, and both as one: `image`, and called as the role.
    Raises ContractError where no engine is there, the build fails, or there is no registry to push to.
    """
    if push and not settings().image.registry:
        mend = "Set [image] registry in project.toml"
        raise ContractError("image", "there is no registry to push to", mend)
    engine, name = _engine(), f"{repository(role)}:{tag or tag_now()}"
    _run(engine, "build", "--target", role, "--tag", name, *_options(commit() or ""), str(ROOT))
    digest, size = _seen(engine, name)
    if push:
        _run(engine, "push", name)
        digest = _pushed(engine, name)
        image = f"{repository(role)}@{digest}"
        told = {"name": repository(role), "digest": digest, "image": image, role: image}
        for each, value in told.items():
            workflow.output(each, value)
    say("image", f"{engine} built {name}, {digest}, {size / 1e6:.0f} MB")


def repository(role: str) -> str:
    """Return the name of a role's image, without tag or digest."""
    registry = settings().image.registry.rstrip("/").lower()  # owners on GitHub may have capitals, images may not
    return "/".join(filter(None, [registry, f"{settings().project.slug}-{role}"]))


def tag_now() -> str:
    """Return the tag of what is built now: the commit, or `dev` where there is none."""
    found, _, changed = (commit() or "dev").partition("+")
    return found[:12] + ("-changes" if changed else "")


def _options(revision: str) -> list[str]:
    """Return the options of `build` that say what an image comes from: labels, and its commit as a variable."""
    labels = {"source": _source(), "revision": revision, "version": _version()}
    options = [f"--label={LABEL}{name}={value}" for name, value in labels.items()]
    given = {"REVISION": revision} | ({"BASE": settings().image.base} if settings().image.base else {})
    return options + [f"--build-arg={name}={value}" for name, value in given.items()]


def _engine() -> str:
    """Return the first engine that answers; docker's client alone does not."""
    for engine in filter(shutil.which, ENGINES):
        if subprocess.run([engine, "version"], capture_output=True, check=False).returncode == 0:
            return engine
    mend = "Install one of them, or start Docker where it is installed"
    raise ContractError("image", f"none of {', '.join(ENGINES)} answers", mend)


def _run(engine: str, *words: str) -> None:
    """Let the engine do something; what it prints is for people."""
    if subprocess.run([engine, *words], stdout=sys.stderr, check=False).returncode:
        raise ContractError("image", f"{engine} {words[0]} failed", f"See what {engine} says above")


def _told(engine: str, *words: str) -> Any:
    return json.loads(subprocess.run([engine, *words], capture_output=True, text=True, check=True).stdout)


def _seen(engine: str, name: str) -> tuple[str, int]:
    """Return the id of an image on this machine, and its size in bytes."""
    found = _told(engine, "inspect", "--type", "image", name)
    if engine != "buildah":
        return str(found[0]["Id"]), int(found[0]["Size"])
    layers = [layer["size"] for layer in json.loads(found["Manifest"])["layers"]]
    return f"sha256:{found['FromImageID']}", sum(layers)


def _pushed(engine: str, name: str) -> str:
    """Return the digest by which the registry knows an image that was pushed."""
    found = _told(engine, "inspect", "--type", "image", name)
    if engine == "buildah":
        return str(found["FromImageDigest"])
    known, repository = found[0]["RepoDigests"], name.rpartition(":")[0]
    return next(str(each.rpartition("@")[2]) for each in known if each.startswith(f"{repository}@"))


def _source() -> str:
    """Return where the repository lies, without the token that may stand in its address."""
    return re.sub(r"//[^/@]*@", "//", git("remote", "get-url", "origin") or "")


def _version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
