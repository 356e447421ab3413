"""Takes back what did harm: the last good deployment answers again at once, and only then are people told."""

import time
from contextlib import suppress

from ml.contract import release
from ml.contract.release import Release
from ml.delivery import deployments
from ml.delivery.deployments import Deployment
from ml.delivery.targets.target import Target
from ml.errors import ContractError
from ml.github.api import github
from ml.progress import say
from ml.promotion import change, remembered
from ml.revision import commit
from ml.settings import settings


def take_back(target: Target, environment: str, told: Release, good: Deployment | None, broken: str) -> None:
    """Let the last good deployment answer again, at once; only then remember it, propose it, and tell people."""
    say("deploy", f"breach: {broken}")
    back = restored(target, good)
    say("deploy", back)
    deployments.remember(environment, told, "breach", f"{broken}; {back}")
    body = _body(environment, told, f"{broken}; {back}")
    if good:
        _propose(environment, told, good, body)
    if hub := github():
        with suppress(ContractError):  # what runs is right already
            say("deploy", f"told in {hub.issue(f'{environment}: plan {told.plan} was taken back', body)}")


def restored(target: Target, good: Deployment | None) -> str:
    """Bring the last good deployment back, and say in words how that went, and how long it took."""
    if good is None:
        return "no release was good before, so it answers still: decide by hand"
    seen, told = time.perf_counter(), good.release
    try:
        target.put_back(good)
        target.smoke(told)
    except ContractError as error:
        return f"plan {told.plan} could not be brought back: {error}"
    took = time.perf_counter() - seen
    return f"plan {told.plan}, champion {told.champion[:12]}, answers again, {took:.1f} s after the breach was seen"


def _propose(environment: str, told: Release, good: Deployment, body: str) -> None:
    """Propose what the files of the environment were, where they are not; here they stay until that is merged."""
    values, title = _values(environment, good), f"Take {environment} back to plan {good.release.plan}"
    if values is None and good.release == told:
        return
    same = good.release == told  # of which the file may be written otherwise
    content = release.file(environment).read_bytes() if same else release.text(good.release).encode()
    try:
        merge = settings().deploy.breach == "revert"
        change.proposed(f"revert/{environment}", environment, content, title, body, values=values, merge=merge)
    except ContractError as error:
        say("deploy", f"nothing was proposed: {error}")


def _values(environment: str, good: Deployment) -> bytes | None:
    """Return values.yaml as it was at a deployment's commit; None where it is so still, or no commit has it."""
    if good.revision is None or good.values is None or good.values == deployments.values():
        return None
    content = remembered.at(good.revision.removesuffix("+changes"), environment, settings().values_file.name)
    if content is None or deployments.sum_of(content) != good.values:
        say("deploy", f"values.yaml was another one when plan {good.release.plan} was good, and is in no commit here")
        return None
    return content


def _body(environment: str, told: Release, said: str) -> str:
    """Return what people are told, as Markdown."""
    return (
        f"`ml deploy {environment}` brought plan `{told.plan}`, champion `{told.champion[:12]}`, of commit "
        f"`{commit() or 'none'}`, and took it back.\n\n> {said}\n\n"
        f"The ledger has all of it: `deployments/{environment}` of the store.\n"
    )
