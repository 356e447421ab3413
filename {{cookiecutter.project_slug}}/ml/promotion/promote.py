"""The verb: take this process's environment one step on, with the evidence as a pull request's title and body."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ml.attestation.attest import attest_verdict
from ml.contract import release as contract
from ml.delivery.release import whole
from ml.gate.gate import gate
from ml.progress import say
from ml.promotion import body, change
from ml.promotion.case import Case, Step, candidate
from ml.promotion.evidence import Refusal
from ml.promotion.known import known
from ml.promotion.step import next_step
from ml.settings import settings
from ml.store import files

BRANCH = "promote/"  # and the environment


def promote(bundle: str | None, images: Mapping[str, str], pull_request: bool, evidence: Path | None = None) -> int:
    """Go one step and return the exit code: 0 moved, 10 refused by the evidence, 11 nothing to do yet.

    Prints title and body, and writes the release file, or with `pull_request` proposes it; with a folder for the
    `evidence` it does neither, and attests what that step relies on. Raises ContractError for an environment that is no
    stage, an image without a digest, a bundle that is absent or altered, and where nothing can be signed.
    """
    case, step = judged(known(bundle, images))
    if isinstance(step, Refusal):
        say("promote", f"{case.environment} stays as it is: {step.said}. {step.mend}")
        return step.code
    for digest in step.to.digests:
        whole(settings().store_url, digest)
    if evidence:
        return _attested(case, step, evidence)
    title, text = body.title(case, step), body.body(case, step)
    content, summary = contract.text(step.to).encode(), f"{title.partition(': ')[2]}; plan {step.to.plan}"
    print(f"# {title}\n\n{text}")
    if pull_request:
        change.proposed(f"{BRANCH}{case.environment}", case.environment, content, title, text)
        say("promote", f"proposed for {case.environment}: {summary}")
    else:
        say("promote", f"wrote {change.make(case.environment, content)}: {summary}")
    return 0


def _attested(case: Case, step: Step, folder: Path) -> int:
    """Attest the gate's verdict that a step relies on, which may be of this minute, and keep the pages beside it."""
    if step.relies_on_gate and case.gate:
        attest_verdict(case.gate, folder)
    for page in body.pages(case, step):
        with suppress(FileNotFoundError):  # a bundle that came without a card is none the worse
            files.write(str(folder / page.rpartition("/")[2]), files.read(page))
    return 0


def judged(case: Case) -> tuple[Case, Step | Refusal]:
    """Return the next step; where only the gate's verdict is missing, the gate judges on the spot."""
    step, conf = next_step(case, settings().promotion), settings()
    digest = candidate(case)
    if not isinstance(step, Refusal) or step.kind != "unjudged" or digest is None:
        return case, step
    case = replace(case, gate=gate(conf.lake_url, conf.store_url, case.now.champion if case.now else None, digest))
    return case, next_step(case, conf.promotion)
