"""Proves what a release names before it is deployed: every bundle and image is what was judged, built and signed."""

from typing import Any

from pydantic import ValidationError

from ml.attestation.attest import PROVENANCE, VERDICT, subject_of
from ml.attestation.signing import Signer, signer
from ml.attestation.statement import Statement, Subject
from ml.contract import bundle, release, verdict
from ml.contract.release import Experiment, Release
from ml.contract.verdict import Verdict
from ml.errors import ContractError
from ml.progress import say
from ml.settings import settings


def verify(environment: str) -> Release:
    """Prove all that an environment's release names, and return the release; works without a network against a key.

    Raises ContractError for a bundle or image that is altered, or that nobody we trust stands behind; and for a bundle
    that would answer somebody although the gate has not let it pass. A shadow needs to be attested alone; a holdout may
    also be the baseline of the champion, which the champion's own core names.
    """
    told = release.of(environment)
    if told is None:
        mend = f"Run `ml promote {environment}`" if environment in settings().promotion.stages else "Run `ml release`"
        raise ContractError("release", f"nothing is released in {environment}", mend)
    store, trusted = settings().store_url, signer()
    for digest in told.digests:
        _refuse_unattested(store, trusted, told, digest)
    for image in told.images.values():
        name, _, sha256 = image.partition("@sha256:")
        trusted.proved(store, Subject(name, sha256), PROVENANCE)
    _refuse_strangers(told)
    say(
        "verify",
        f"{environment}: bundles ({len(told.digests)}) and images ({len(told.images)}) of plan {told.plan} are what "
        f"they were signed as, by {settings().signing.by}",
    )
    return told


def answering(told: Release) -> list[str]:
    """Return the bundles whose scores somebody may get."""
    return [each for each in told.digests if each == told.champion or _mode(told.experiment) != "shadow"]


def _refuse_unattested(store: str, trusted: Signer, told: Release, digest: str) -> None:
    subject = subject_of(store, digest)
    if _mode(told.experiment) == "holdout" and digest == bundle.load(store, told.champion).baseline:
        return
    found = [_verdict(each, digest) for each in trusted.proved(store, subject, VERDICT)]
    if digest in answering(told) and "pass" not in found:
        broken = f"{digest[:12]} would answer, and its attested verdict is {' and '.join(found)}"
        raise ContractError(
            "attestation", broken, f"Run `ml gate --challenger {digest[:12]}`, then `ml attest {digest[:12]}`"
        )


def _verdict(statement: Statement, digest: str) -> str:
    """Return the answer of an attested verdict; raises ContractError where it is on another bundle, or none."""
    try:
        judged = Verdict.model_validate(statement.predicate)
    except ValidationError as error:
        raise ContractError("attestation", f"what is attested of {digest[:12]} is no verdict", "Attest anew") from error
    if judged.challenger.bundle != digest:
        broken = f"what is attested of {digest[:12]} is the verdict on {judged.challenger.bundle[:12]}"
        raise ContractError("attestation", broken, f"Run `ml attest {digest[:12]}`")
    return verdict.overall(each.counts for each in judged.checks)


def _refuse_strangers(told: Release) -> None:
    """Raise ContractError where what lies behind a URL would answer: nobody can prove what it is."""
    arms = told.experiment.arms.values() if told.experiment else ()
    if _mode(told.experiment) != "shadow" and (remote := [arm.bundle for arm in arms if "://" in arm.bundle]):
        raise ContractError("attestation", f"{remote[0]} would answer, which nobody can prove", "Let it be a shadow")


def _mode(experiment: Experiment | None) -> Any:
    return experiment.mode if experiment else None
