"""What git remembers of the release files: what branches propose, and what was there before."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ml.contract import release as contract
from ml.errors import ContractError
from ml.settings import settings

PROPOSING = ("promote/", "revert/")  # how branches begin that propose another release; the environment follows
REMOTE = "origin"
MERGED = (
    "refs/ml/merged"  # what the remote's own branch was when it was last asked, which may be ahead of this checkout
)


class Proposal(NamedTuple):
    """What a branch makes of a release file: the environment, and the file's bytes."""

    branch: str
    environment: str
    content: bytes


def folder() -> Path:
    """Return the folder of all environments."""
    return Path(settings().path(settings().release.folder))


def fetch() -> str:
    """Bring what is proposed on the remote up to date; returns why that is not known, "" where it is."""
    if git("rev-parse", "--git-dir") is None:
        return f"{_here()} is in no repository of git"
    if git("rev-parse", "--is-shallow-repository") == b"true\n":
        return "the history of this checkout is cut off, see `git fetch --unshallow`"
    if git("remote", "get-url", REMOTE) is None:
        return ""
    specs = [f"+refs/heads/{each}*:refs/remotes/{REMOTE}/{each}*" for each in PROPOSING]
    ran = _ran("fetch", "--quiet", "--prune", "--no-tags", REMOTE, f"+HEAD:{MERGED}", *specs)
    return (ran.stderr.decode().strip() or "git fetch failed") if ran.returncode else ""


def merged() -> Iterator[tuple[str, bytes]]:
    """Yield each environment's release file on the remote's own branch, as last fetched."""
    listed = (git("ls-tree", "--full-tree", "-d", "--name-only", f"{MERGED}:{_name('')}") or b"").decode()
    for environment in listed.split():
        if content := git("show", f"{MERGED}:{_name(environment)}/{contract.NAME}"):
            yield environment, content


def proposals() -> Iterator[Proposal]:
    """Yield what branches propose that is not in the release file already, those of the remote as last fetched."""
    told = (git("for-each-ref", "--format=%(refname)", "refs/heads", f"refs/remotes/{REMOTE}") or b"").decode()
    seen = set[tuple[str, bytes]]()
    for ref in told.split():
        branch = ref.removeprefix("refs/heads/").removeprefix(f"refs/remotes/{REMOTE}/")
        environment = next((branch.removeprefix(each) for each in PROPOSING if branch.startswith(each)), None)
        if not environment:
            continue
        content = git("show", f"{ref}:{_name(environment)}/{contract.NAME}")
        file = contract.file(environment)
        if content and content != (file.read_bytes() if file.exists() else b"") and (branch, content) not in seen:
            seen.add((branch, content))
            yield Proposal(branch, environment, content)


def before(environment: str) -> tuple[str, bytes]:
    """Return what changed a release file last, a commit or "" where that was not committed, and its bytes before.

    A merge counts as one change, however many commits it brought. Raises ContractError where there was nothing before.
    """
    name, file = f"{_name(environment)}/{contract.NAME}", contract.file(environment)
    head = git("show", f"HEAD:{name}")
    if head is not None and file.exists() and head != file.read_bytes():
        return "", head
    changed = (git("log", "-1", "--first-parent", "-m", "--format=%H", "--", name) or b"").decode().strip()
    if not changed and not file.exists():
        broken = f"nothing was ever released in {environment}, so there is no way back"
        raise ContractError("release", broken, f"Run `ml promote {environment}`, or `ml release`")
    content = git("show", f"{changed}^:{name}") if changed else None
    if content is None:
        broken = f"git knows no release of {environment} before this one"
        mend = "Fetch the whole history (git fetch --unshallow), or name a bundle by `ml release`"
        raise ContractError("release", broken, mend)
    return changed, content


def at(revision: str, environment: str, name: str) -> bytes | None:
    """Return a file of an environment as a commit has it; None where it has none, or is not known here."""
    return git("show", f"{revision}:{_name(environment)}/{name}")


def git(*words: str) -> bytes | None:
    """Return what git says in the folder of all environments; None where it fails or is not there."""
    try:
        ran = _ran(*words)
    except OSError:
        return None
    return None if ran.returncode else ran.stdout


def _ran(*words: str) -> "subprocess.CompletedProcess[bytes]":
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}  # nobody may be there to answer
    return subprocess.run(["git", "-C", str(_here()), *words], capture_output=True, check=False, env=quiet)


def _here() -> Path:
    """Return the folder of all environments, or what is there of the way to it: other branches may have more."""
    return next(each for each in (folder(), *folder().parents) if each.is_dir())


def _name(environment: str) -> str:
    """Return how git calls the folder of an environment, or with "" that of all, seen from there."""
    return f"./{(folder() / environment).relative_to(_here())}"
