"""Git, as delivery uses it: every failure is one line, and a token is shown to GitHub alone."""

import base64
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ml.errors import ContractError
from ml.github.repository import server

BOT = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")  # who has no name of his own


def git(folder: Path, *words: str, variables: Mapping[str, str] | None = None) -> str:
    """Return what git prints of the repository that holds a folder, stripped; raises ContractError where it fails."""
    seen = {**os.environ, "GIT_TERMINAL_PROMPT": "0", **(variables or {})}
    ran = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=False, env=seen)
    if ran.returncode:
        said = (ran.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ContractError("git", f"`git {words[0]}` failed: {said}", "Is this a clone that may push to `origin`?")
    return ran.stdout.strip()


@contextmanager
def worktree(top: Path, commit: str) -> Iterator[Path]:
    """Yield a checkout of a commit beside the one that there is, which goes again."""
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder) / "worktree"
        git(top, "worktree", "add", "--quiet", "--detach", str(there), commit)
        try:
            yield there
        finally:
            git(top, "worktree", "remove", "--force", str(there))


def author(top: Path) -> dict[str, str]:
    """Return variables that name an author where the machine names none."""
    if subprocess.run(["git", "-C", top, "config", "user.email"], capture_output=True, check=False).returncode == 0:
        return {}
    name, email = BOT
    return {
        f"GIT_{who}_{what}": told
        for who in ("AUTHOR", "COMMITTER")
        for what, told in (("NAME", name), ("EMAIL", email))
    }


def credentials(token: str) -> dict[str, str]:
    """Return variables by which git shows the token to GitHub and to nobody else, and to no list of processes."""
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    names = ("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0")
    return dict(zip(names, ("1", f"http.{server()}/.extraheader", f"AUTHORIZATION: basic {basic}"), strict=True))
