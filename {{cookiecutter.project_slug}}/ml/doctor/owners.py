"""Who has to approve what goes to production: the owner that CODEOWNERS names, if anybody.

https://docs.github.com/en/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners
"""

from pathlib import PurePosixPath

from ml.doctor.check import Doubt
from ml.settings import ROOT, settings

PLACES = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")  # GitHub reads the first that is there


def owners() -> str:
    """Does what goes to production have an owner?"""
    stage = settings().promotion.stages[-1]
    if not (named := owner(f"{settings().release.folder}/{stage}/release.yaml")):
        mend = f"Name an owner in {PLACES[0]}, or let the environment ask for reviewers, see docs/github.md"
        raise Doubt("owners", f"nobody owns {stage}, so anybody who may merge may change what runs there", mend)
    return f"{named} owns {stage}"


def owner(path: str) -> str:
    """Return who owns a path of the repository; nothing where nobody does."""
    file = next((ROOT / place for place in PLACES if (ROOT / place).is_file()), None)
    found = ""
    for line in file.read_text().splitlines() if file else ():
        pattern, *named = line.partition("#")[0].split() or [""]
        if pattern and _takes(pattern, PurePosixPath("/", path)):
            found = " ".join(named)  # the last counts, and may name nobody
    return found


def _takes(pattern: str, path: PurePosixPath) -> bool:
    """Say whether a pattern means a path, or a folder that it lies in; `folder/*` means no folders."""
    named = pattern.rstrip("/").removesuffix("/**")
    if "/" in named:
        named = f"/{named.lstrip('/')}"
    return any(each.match(named) for each in ([path] if named.endswith("*") else [path, *path.parents]))
