"""Names a bundle as what an environment serves: a change of one small file, to be merged like any other."""

from ml.contract import bundle
from ml.contract import release as contract
from ml.errors import ContractError
from ml.progress import say
from ml.settings import settings
from ml.store import files


def release(store: str, digest: str | None) -> None:
    """Write the release file for the named bundle, or the one registered last; the bundle is proved first."""
    found = bundle.load(store, _resolve(store, digest))
    found.replay_golden()
    contract.write(contract.Release(champion=found.digest))
    say(
        "release",
        f"{settings().release_file} names bundle {found.digest[:12]} ({found.manifest['rung']}) champion",
    )


def _resolve(store: str, digest: str | None) -> str:
    """Return the full digest of the bundle that starts with `digest`, or of the newest."""
    if digest is None:
        return bundle.newest(store)
    there = set(files.names(files.join(store, "bundles"))) - {bundle.NEWEST}
    names = [name for name in there if name.startswith(digest)]
    if len(names) != 1:
        raise ContractError("release", f"{len(names)} bundles begin with {digest!r}", "Give more of the digest")
    return names[0]
