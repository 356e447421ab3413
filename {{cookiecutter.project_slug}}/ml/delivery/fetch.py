"""Brings the bundles of a release to where a service starts, and proves each: from a store to a folder of its node.

What is there and right is not fetched again, so a fetch that was interrupted is repeated as it is.
"""

from pathlib import Path

from ml.contract import bundle, release
from ml.errors import ContractError
from ml.progress import say


def fetch(store: str, folder: Path) -> int:
    """Copy the core of each bundle that the release names from `store` into `folder`, a store itself from then on.

    Returns how many were copied. Raises ContractError when one is absent, altered on either side, or of another
    contract; what was altered in `store` never reaches `folder`.
    """
    told, copied = release.read(), 0
    for digest in told.digests:
        if not _there(folder, digest):
            bundle.save(str(folder), bundle.proved(store, digest), {})
            bundle.proved(str(folder), digest)  # as it lies there now, for the service reads it from there
            copied += 1
    say("fetch", f"plan {told.plan}: {copied} of {len(told.digests)} bundles from {store}, all proved in {folder}")
    return copied


def _there(folder: Path, digest: str) -> bool:
    try:
        return bool(bundle.proved(str(folder), digest))
    except ContractError:
        return False
