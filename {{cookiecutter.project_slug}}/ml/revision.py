"""The project's own commit: what a bundle and an image say that they come from."""

import os
import subprocess
from pathlib import Path

from ml.settings import ROOT

CODE = ("ml", "requirements", "project.toml", "pyproject.toml")


def commit() -> str | None:
    """Return the project's commit, with "+changes" behind it when files differ; None outside its own repository.

    In an image, which has no repository, it is the commit that the image was built from.
    """
    found = git("rev-parse", "HEAD")
    if found is None:
        return os.environ.get("ML_REVISION") or None
    return found + ("+changes" if git("status", "--porcelain", "--", *CODE) else "")


def git(*words: str) -> str | None:
    """Return what git says of the project's own repository; None where there is none, or git fails."""
    top = _git("rev-parse", "--show-toplevel")
    return _git(*words) if top is not None and Path(top).resolve() == ROOT else None


def _git(*words: str) -> str | None:
    try:
        ran = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return ran.stdout.strip()
