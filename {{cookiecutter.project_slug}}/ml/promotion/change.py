"""A change of one environment's files: made here, or proposed, after which they are again as they were.

What is proposed runs nowhere yet. Left in the checkout, it would be taken for what runs by the next verb, and be in the
way of the merge.
"""

from ml.contract import release as contract
from ml.github.proposal import propose
from ml.store import files


def make(environment: str, content: bytes) -> str:
    """Write an environment's release file; returns where."""
    file = contract.file(environment)
    files.write(str(file), content)
    return str(file)


def proposed(
    branch: str,
    environment: str,
    content: bytes,
    title: str,
    body: str,
    *,
    values: bytes | None = None,
    merge: bool = False,
) -> str:
    """Propose a release file, and its values.yaml where they are given, by a pull request from a branch.

    Returns where it is, as `propose` does, and raises so.
    """
    file = contract.file(environment)
    new = {file: content} | ({file.with_name("values.yaml"): values} if values is not None else {})
    before = {each: each.read_bytes() if each.exists() else None for each in new}
    try:
        for each, told in new.items():
            files.write(str(each), told)
        return propose(branch, list(new), title, body, merge=merge)
    finally:
        for each, was in before.items():
            each.unlink(missing_ok=True) if was is None else files.write(str(each), was)
