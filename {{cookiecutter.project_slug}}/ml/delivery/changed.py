"""Names the environments whose files a change touches: what a workflow deploys, and nothing else."""

from pathlib import Path

from ml.errors import ContractError
from ml.revision import git
from ml.settings import ROOT, settings

FILES = ("release.yaml", "values.yaml")  # what runs, and how
MACHINES = {"demo", "kind", "laptop"}  # environments of single machines, which nobody else deploys to


def changed(base: str) -> list[str]:
    """Return the environments with a release of which a file was changed since a commit; all, where there is none.

    Those of single machines are left out: `ml release` writes such a file on a laptop, and it may be committed.
    Raises ContractError outside of a repository. A first push names a commit of zeros as the one before.
    """
    folder = Path(settings().path(settings().release.folder))
    there = sorted({file.parent.name for file in folder.glob("*/release.yaml")} - MACHINES)
    if git("rev-parse", "HEAD") is None:
        raise ContractError("deploy", "this is no repository with a commit", "Run `git init`, and commit")
    if git("cat-file", "-e", f"{base}^{{commit}}") is None:
        return there
    told = git("diff", "--name-only", base, "HEAD", "--", str(folder)) or ""
    touched = {(ROOT / name).parent.name for name in told.splitlines() if name.endswith(FILES)}
    return [each for each in there if each in touched]
