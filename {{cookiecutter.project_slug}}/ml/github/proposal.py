"""Proposes a change of files as a pull request; the checkout that it comes from stays as it is.

The branch is made anew from the base each time, so that it holds this one change and nothing that was proposed before.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ml.errors import ContractError
from ml.github.api import GitHub, github
from ml.github.git import author, credentials, git, worktree
from ml.progress import say

CHECKS = "ci.yml"  # started by hand where the default token opens a pull request, which by itself starts nothing


def propose(branch: str, paths: Sequence[Path], title: str, body: str, *, merge: bool = False) -> str:
    """Commit what the paths hold now on a branch from the base, push it, open or update its pull request.

    Returns the pull request's address; without a token the branch's name, which then lies in this repository alone.
    With `merge` it is merged at once, where the repository's rules let it. A path that is not there is removed.
    Raises ContractError where the base has changed one of the paths since, or git or GitHub refuse.
    """
    hub, top = github(), _top(paths[0])
    inside = [_inside(top, path) for path in paths]
    base = _base(top, hub)
    commit = _committed(top, base, inside, title)
    if commit == base:
        say("propose", f"nothing: {', '.join(inside)} stands there already")
        return branch
    if hub is None:
        git(top, "branch", "--force", branch, commit)
        mend = f"git push --force origin {branch}, then open a pull request; or give a GITHUB_TOKEN"
        say("propose", f"{title}: on the branch {branch}. {mend}")
        return branch
    pushed = _push(top, hub, branch, base, commit, inside)
    number, url = hub.pull_request(branch, title, body, merge)
    if pushed and not merge and os.environ.get("GITHUB_ACTIONS") and not os.environ.get("APP_SLUG"):
        hub.dispatch(CHECKS, {"pull_request": str(number)}, branch)
    say("propose", f"{title}: {url}")
    return url


def _base(top: Path, hub: GitHub | None) -> str:
    """Return the newest commit of the default branch; without a token the one that is checked out."""
    if hub is None:
        return git(top, "rev-parse", "HEAD")
    git(top, "fetch", "--quiet", "origin", hub.get("")["default_branch"], variables=credentials(hub.token))
    return git(top, "rev-parse", "FETCH_HEAD")


def _committed(top: Path, base: str, inside: Sequence[str], title: str) -> str:
    """Commit the paths as they are now on top of the base; return the base where nothing differs."""
    if changed := _changed(top, "HEAD", base, inside):
        broken = f"{changed[0]} was changed on the base since this checkout"
        raise ContractError("proposal", broken, "Start again from the newest commit")
    with worktree(top, base) as there:
        for name in inside:
            (there / name).unlink(missing_ok=True)
            if (top / name).exists():
                (there / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(top / name, there / name)
        git(there, "add", "--all", "--", *inside)
        if not git(there, "status", "--porcelain", "--", *inside):
            return base
        git(there, "commit", "--quiet", "--no-verify", "--message", title, variables=author(top))
        return git(there, "rev-parse", "HEAD")


def _push(top: Path, hub: GitHub, branch: str, base: str, commit: str, inside: Sequence[str]) -> bool:
    """Push a commit as a branch; one that proposes the very same keeps its commit, and so what approved it."""
    secret, name = credentials(hub.token), f"refs/heads/{branch}"
    if git(top, "ls-remote", "origin", name, variables=secret):
        git(top, "fetch", "--quiet", "origin", name, variables=secret)
        there = git(top, "rev-parse", "FETCH_HEAD")
        if not _changed(top, f"{there}~1", base, inside) and not _changed(top, there, commit, inside):
            return False
    git(top, "push", "--quiet", "--force", "origin", f"{commit}:{name}", variables=secret)
    return True


def _changed(top: Path, one: str, other: str, inside: Sequence[str]) -> list[str]:
    return git(top, "diff", "--name-only", one, other, "--", *inside).splitlines()


def _top(path: Path) -> Path:
    folder = next(each for each in path.resolve().parents if each.is_dir())
    return Path(git(folder, "rev-parse", "--show-toplevel"))


def _inside(top: Path, path: Path) -> str:
    real = path.parent.resolve() / path.name
    if not real.is_relative_to(top):
        raise ContractError("proposal", f"{path} is not in the repository {top}", "See [release] folder")
    return real.relative_to(top).as_posix()
