"""Attests what the gate said of a bundle, and what an image was built from.

A bundle is named by the SHA-256 of its sums, so a file of these lines is the bundle to every tool that hashes files.
"""

from pathlib import Path

from ml.attestation.signing import Key
from ml.attestation.statement import Statement, Subject
from ml.contract import bundle, verdict
from ml.contract.verdict import Verdict
from ml.errors import ContractError
from ml.github import workflow
from ml.progress import say
from ml.revision import commit
from ml.settings import settings
from ml.store import files

VERDICT = "urn:ml:gate-verdict:v1"  # the predicate is docs/verdict.schema.json
PROVENANCE = "https://slsa.dev/provenance/v1"
SUMS, PREDICATE = "SUMS", "predicate.json"  # what actions/attest is given


def attest(digest: str | None, folder: Path | None) -> None:
    """Sign this environment's last verdict on a bundle, by default the newest, and put it beside the bundle.

    A folder gets the files that actions/attest reads, for where a workflow signs instead. Raises ContractError where
    the bundle was altered or never judged.
    """
    store = settings().store_url
    attest_verdict(_judged(store, bundle.resolve(store, digest)), folder)


def attest_verdict(judged: Verdict, folder: Path | None) -> None:
    """Sign a verdict, and give a folder the files, as `attest` does; raises ContractError for an altered bundle."""
    found = judged.challenger.bundle
    statement = Statement(subject_of(settings().store_url, found), VERDICT, judged.model_dump(mode="json"))
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SUMS).write_bytes(statement.subject.file or b"")
        (folder / PREDICATE).write_text(judged.model_dump_json(indent=1))
    _sign(statement, judged.champion.bundle, f"the verdict on {found[:12]}, {judged.answer}")


def attest_image(image: str) -> None:
    """Sign that an image, repository@sha256:…, was built from the commit that lies here."""
    name, _, sha256 = image.partition("@sha256:")
    if not name or len(sha256) != 64:
        raise ContractError("attestation", f"{image} is no image by digest", "Name it as repository@sha256:…")
    told = {"buildType": "urn:ml:image:v1", "externalParameters": {"image": name, "revision": commit() or ""}}
    predicate = {"buildDefinition": told, "runDetails": {"builder": {"id": "urn:ml:key"}}}
    _sign(Statement(Subject(name, sha256), PROVENANCE, predicate), "provenance", f"where {name} comes from")


def subject_of(store: str, digest: str) -> Subject:
    """Return a bundle as it is signed; raises ContractError where it was altered."""
    return Subject(SUMS, digest, bundle.sums(bundle.proved(store, digest)))


def _judged(store: str, digest: str) -> Verdict:
    """Return this environment's last verdict on a bundle."""
    against = files.names(verdict.folder(store, digest, ""))
    found = [judged for each in against if (judged := verdict.load(store, digest, each))]
    if not found:
        short, environment = digest[:12], settings().release.environment
        home = files.join(store, "verdicts")
        others = [each for each in files.names(home) if files.names(files.join(home, each, digest))]
        mend = f"ml attest {short} --environment {others[-1]}" if others else f"ml gate --challenger {short}"
        raise ContractError("gate", f"{short} was never judged in {environment}", f"Run `{mend}`")
    return max(found, key=lambda judged: judged.judged_at)


def _sign(statement: Statement, name: str, what: str) -> None:
    """Sign by the key; where a workflow signs instead, its next step is told so by the output `by`."""
    conf = settings()
    workflow.output("by", conf.signing.by)
    if conf.signing.by == "github":
        return say("attest", f"{what}: a workflow signs it, by actions/attest")
    key = Key(conf.public_key).sign(conf.store_url, statement, conf.signing_key, name)
    say("attest", f"{what}: signed by key {key}")
