"""Names a bundle as what an environment serves: a change of one small file, to be merged like any other."""

from ml.contract import bundle, verdict
from ml.contract import release as contract
from ml.contract.bundle import Bundle
from ml.contract.clock import Clock
from ml.contract.framing import fingerprint
from ml.errors import ContractError
from ml.progress import say
from ml.settings import settings


def release(store: str, digest: str | None) -> None:
    """Write the release file for the named bundle, or the one registered last.

    Raises ContractError unless the bundle is whole and the gate let it pass against what it replaces.
    """
    found = bundle.load(store, bundle.resolve(store, digest))
    found.replay_golden()
    if contract.champion() == found.digest:
        say("release", f"{found.digest[:12]} ({found.rung}) is the champion already; nothing changed")
        return
    _refuse_unjudged(store, found)
    contract.write(contract.Release(champion=found.digest))
    say("release", f"{settings().release_file} names bundle {found.digest[:12]} ({found.rung}) champion")


def _refuse_unjudged(store: str, found: Bundle) -> None:
    replaced = contract.judged_against(found)
    judged = verdict.load(store, found.digest, replaced)
    again = f"Run `ml gate --challenger {found.digest[:12]}`"
    if judged is None:
        raise ContractError("gate", f"{found.digest[:12]} was never judged against {replaced[:12]}", again)
    if judged.framing != fingerprint():
        raise ContractError("gate", f"{found.digest[:12]} was judged by another framing than today's", again)
    today = Clock("wall").now().date()
    if expired := [each.name for each in judged.checks if each.waiver and each.waiver.expires < today]:
        raise ContractError("gate", f"the waiver for {expired[0]} has expired", again)
    answer = verdict.overall(each.counts for each in judged.checks)
    if answer != "pass":
        kept = ", ".join(f"{each.name} ({each.counts})" for each in judged.checks if each.counts != "pass")
        broken = f"the verdict on {found.digest[:12]} against {replaced[:12]} is {answer}: {kept}"
        raise ContractError("gate", broken, f"See {verdict.folder(store, found.digest, replaced)}/{verdict.PAGE}")
