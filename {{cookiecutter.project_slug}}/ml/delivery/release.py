"""Names what an environment serves, and to whom: a change of one small file, to be merged like any other."""

from typing import Any

from pydantic import ValidationError

from ml.contract import bundle, verdict
from ml.contract import release as contract
from ml.contract.bundle import Bundle
from ml.contract.clock import Clock
from ml.contract.framing import fingerprint
from ml.contract.release import Arm, Experiment, Release
from ml.errors import ContractError
from ml.progress import say
from ml.settings import settings

CHALLENGER = "challenger"  # how the one arm of an experiment is called that a verb makes


def release(store: str, digest: str | None) -> None:
    """Name a bundle champion, or the one registered last; an experiment, which was one against another, ends with it.

    Raises ContractError unless the bundle is whole and the gate let it pass against what it replaces.
    """
    found = _whole(store, digest)
    if contract.champion() == found.digest:
        say("release", f"{found.digest[:12]} ({found.rung}) is the champion already; nothing changed")
        return
    _refuse_unjudged(store, found)
    _write(Release(champion=found.digest), f"bundle {found.digest[:12]} ({found.rung}) champion")


def try_out(store: str, digest: str | None, mode: Any, percent: float, name: str | None = None) -> None:
    """Give a bundle, or the service at a URL, to some percent of the entities: as a shadow, canary, ab or holdout.

    Raises ContractError where it would answer somebody although the gate has not let it pass against the champion; of a
    shadow and a holdout that is not asked. What lies behind a URL no gate can judge, so it can only be a shadow.
    """
    champion = contract.champion()
    if champion is None:
        raise ContractError("release", "nothing is released that it could be compared with", "Run `ml release` first")
    if digest and "://" in digest:
        if mode != "shadow":
            mend = "Let it be a shadow, or bring its bundle into the store"
            raise ContractError("release", f"no gate has judged what answers at {digest}", mend)
        told, named = digest, "remote"
    else:
        chosen = digest or (bundle.load(store, champion).baseline if mode == "holdout" else None)
        found = _whole(store, chosen)
        told, named = found.digest, found.digest[:8]
        if told == champion:
            raise ContractError("release", f"{told[:12]} is the champion itself", "Name another bundle")
        if mode in ("canary", "ab"):
            _refuse_unjudged(store, found)
    try:
        arms = {CHALLENGER: Arm(bundle=told, percent=percent)}
        experiment = Experiment(name=name or f"{mode}-{named}", mode=mode, arms=arms)
    except ValidationError as error:
        first = error.errors()[0]
        broken = f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
        raise ContractError("release", broken, "See `ml release --help`") from error
    _write(
        Release(champion=champion, experiment=experiment),
        f"{told[:12]} {mode} of {percent:g} % in the experiment {experiment.name}",
    )


def end(store: str) -> None:
    """End the experiment: the champion answers everybody again."""
    champion = contract.champion()
    if champion is None:
        raise ContractError("release", "nothing is released", "Run `ml release` first")
    _write(Release(champion=champion), f"no experiment beside {champion[:12]}")


def _write(told: Release, words: str) -> None:
    contract.write(told)
    say("release", f"{settings().release_file} names {words}; plan {told.plan}")


def _whole(store: str, digest: str | None) -> Bundle:
    found = bundle.load(store, bundle.resolve(store, digest))
    found.replay_golden()
    return found


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
