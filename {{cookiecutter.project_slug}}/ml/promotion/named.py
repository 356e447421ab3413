"""Which bundles are needed, and by whom; whatever is not named here may go."""

import re
from collections import defaultdict
from collections.abc import Iterator

from ml.contract import bundle as bundles
from ml.contract import release as contract
from ml.contract.release import DIGEST, Release
from ml.delivery import deployments
from ml.errors import ContractError
from ml.promotion import remembered
from ml.settings import settings
from ml.store import files

DIGESTS = re.compile(rf"\b{DIGEST}\b".encode())


def environments() -> list[str]:
    """Return the stages in their order, and after them what else has a release file."""
    stages = settings().promotion.stages
    others = {file.parent.name for file in remembered.folder().glob(f"*/{contract.NAME}")} - set(stages)
    return [*stages, *sorted(others)]


def named(store: str) -> dict[str, list[str]]:
    """Return for each bundle that is needed who needs it: releases, deployments, proposals, the gate, the way back."""
    found = defaultdict[str, list[str]](list)
    for digest, why in (*_released(), *_deployed(), *_proposed(), *_before(), *_newest(store)):
        if why not in found[digest]:
            found[digest].append(why)
    for digest in found.keys() & set(bundles.names(store)):
        if simplest := bundles.manifest(store, digest).get("baseline"):
            found[simplest].append(f"what {digest[:12]} has to beat")
    return dict(found)


def roles(release: Release, environment: str) -> Iterator[tuple[str, str]]:
    """Yield what each bundle of a release is there."""
    yield release.champion, f"champion of {environment}"
    if release.experiment:
        for arm in release.experiment.arms.values():
            yield arm.bundle, f"{release.experiment.mode} in {environment}"


def _released() -> Iterator[tuple[str, str]]:
    for environment in environments():
        told = contract.of(environment)
        yield from roles(told, environment) if told else ()
    for environment, content in remembered.merged():
        yield from ((digest.decode(), f"merged for {environment}") for digest in DIGESTS.findall(content))


def _deployed() -> Iterator[tuple[str, str]]:
    for environment in environments():
        last = deployments.last(environment)
        yield from ((digest, f"last good in {environment}") for digest in (last.release.digests if last else ()))


def _proposed() -> Iterator[tuple[str, str]]:
    for each in remembered.proposals():  # whatever looks like a digest counts: another contract may have written it
        yield from ((digest.decode(), f"proposed by {each.branch}") for digest in DIGESTS.findall(each.content))


def _before() -> Iterator[tuple[str, str]]:
    for environment in environments():
        try:
            _, content = remembered.before(environment)
        except ContractError:  # nothing was released before
            continue
        yield from ((digest.decode(), f"the way back of {environment}") for digest in DIGESTS.findall(content))


def _newest(store: str) -> Iterator[tuple[str, str]]:
    if files.names(files.join(store, "bundles")):
        yield bundles.newest(store), "newest"
