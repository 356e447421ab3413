"""Names what an environment serves, and to whom: a change of one small file, to be merged like any other."""

from typing import Any

from pydantic import ValidationError

from ml.contract import bundle, verdict
from ml.contract import release as contract
from ml.contract.bundle import Bundle
from ml.contract.clock import Clock
from ml.contract.framing import fingerprint
from ml.contract.release import Arm, Experiment, Release
from ml.errors import ContractError, first
from ml.progress import say
from ml.promotion.evidence import of_gate
from ml.settings import settings

CHALLENGER = "challenger"  # how the one arm of an experiment is called that a verb makes


def release(store: str, digest: str | None) -> None:
    """Name a bundle champion, or the one registered last; an experiment, which was one against another, ends with it.

    Raises ContractError unless the bundle is whole and the gate let it pass against what it replaces.
    """
    found = whole(store, digest)
    if contract.champion() == found.digest:
        say("release", f"{found.digest[:12]} ({found.rung}) is the champion already; nothing changed")
        return
    _refuse_unjudged(store, found)
    _write(_now(found.digest), f"bundle {found.digest[:12]} ({found.rung}) champion")


def try_out(store: str, digest: str | None, mode: Any, percent: float | None, name: str | None = None) -> None:
    """Give a bundle, or the service at a URL, to some percent of the entities: as a shadow, canary, ab or holdout.

    Raises ContractError where it would answer somebody although the gate has not let it pass against the champion; of a
    shadow and a holdout that is not asked. What lies behind a URL no gate can judge, so it can only be a shadow. A
    shadow answers nobody, and sees everybody unless it is told otherwise; of who answers, the percent has to be told.
    """
    champion = contract.champion()
    if champion is None:
        raise ContractError("release", "nothing is released that it could be compared with", "Run `ml release` first")
    if percent is None and mode != "shadow":
        raise ContractError(
            "release", f"of how many entities this is a {mode}, was not told", "Add --percent, such as 5"
        )
    percent = 100 if percent is None else percent
    if digest and "://" in digest:
        if mode != "shadow":
            mend = "Let it be a shadow, or bring its bundle into the store"
            raise ContractError("release", f"no gate has judged what answers at {digest}", mend)
        told, named = digest, "remote"
    else:
        chosen = digest or (bundle.load(store, champion).baseline if mode == "holdout" else None)
        found = whole(store, chosen)
        told, named = found.digest, found.digest[:8]
        if told == champion:
            raise ContractError("release", f"{told[:12]} is the champion itself", "Name another: `ml bundles list`")
        if mode in ("canary", "ab"):
            _refuse_unjudged(store, found)
    try:
        arms = {CHALLENGER: Arm(bundle=told, percent=percent)}
        experiment = Experiment(name=name or f"{mode}-{named}", mode=mode, arms=arms)
    except ValidationError as error:
        raise ContractError("release", first(error), "See `ml release name --help`") from error
    before = contract.read().experiment
    ends = f"; {before.name} ends with it" if before and before.name != experiment.name else ""
    said = f"{told[:12]} {mode} of {percent:g} % in the experiment {experiment.name}{ends}"
    _write(_now(champion, experiment), said)


def end(store: str) -> None:
    """End the experiment: the champion answers everybody again."""
    champion = contract.champion()
    if champion is None:
        raise ContractError("release", "nothing is released", "Run `ml release` first")
    _write(_now(champion), f"no experiment beside {champion[:12]}")


def _now(champion: str, experiment: Experiment | None = None) -> Release:
    """Return the release with another champion or experiment, on the images that it has."""
    before = contract.of(settings().release.environment)
    return Release(champion=champion, experiment=experiment, images=before.images if before else {})


def _write(told: Release, words: str) -> None:
    contract.write(told)
    say("release", f"{settings().release_file} names {words}; plan {told.plan}")
    if told.experiment:
        say("release", "a service that has not loaded all of its bundles goes on as before until it is started again")


def whole(store: str, digest: str | None) -> Bundle:
    """Return a bundle of the store whose golden records score as when it was made; raises ContractError otherwise."""
    found = bundle.load(store, bundle.resolve(store, digest))
    found.replay_golden()
    return found


def _refuse_unjudged(store: str, found: Bundle) -> None:
    replaced = contract.judged_against(found)
    judged = verdict.load(store, found.digest, replaced)
    if refused := of_gate(judged, found.digest, replaced, fingerprint(), Clock("wall").now()):
        answered = refused.kind in ("rejected", "undecided")
        page = f"See {verdict.folder(store, found.digest, replaced)}/{verdict.PAGE}"
        raise ContractError("gate", refused.said, page if answered else refused.mend)
