"""Where the project lies on GitHub: as a workflow's runner says, else as the remote `origin` does."""

import os
import re
import subprocess

from ml.errors import ContractError
from ml.settings import ROOT


def repository() -> str:
    """Return owner and name of the repository; raises ContractError where there is no remote."""
    return os.environ.get("GITHUB_REPOSITORY") or remote()


def remote() -> str:
    """Return owner and name as the remote `origin` says them; raises ContractError where there is none."""
    ran = subprocess.run(
        ["git", "-C", ROOT, "remote", "get-url", "origin"], capture_output=True, text=True, check=False
    )
    found = re.search(r"[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?$", ran.stdout.strip())
    if not found:
        mend = "gh repo create --source . --push, or git remote add origin https://github.com/<owner>/<name>.git"
        raise ContractError("remote", "the project has no remote repository `origin`", mend)
    return found[1]


def server() -> str:
    """Return the address of GitHub's pages, and of its repositories for git."""
    return os.environ.get("GITHUB_SERVER_URL", "https://github.com")
