"""What a repository on GitHub is asked: whether what the workflows need is switched on there.

https://docs.github.com/en/rest; a token with read access to administration, secrets and environments sees all of it.
"""

import os
import shutil
import subprocess
from contextlib import suppress
from typing import Any

from ml.doctor.check import Check, Doubt
from ml.doctor.owners import owners
from ml.errors import ContractError
from ml.github.api import APP_ID, APP_KEY, Refused, github
from ml.github.proposal import CHECKS
from ml.github.repository import remote, repository, server
from ml.settings import ROOT, settings

WORKFLOWS = ROOT / ".github" / "workflows"
DELIVERY = "delivery"  # the environment whose secrets the workflows have that train, promote and build
SIGNING_KEY = "SIGNING_KEY"  # the secret by which a key signs
SWITCHES = {"STORE_URL": "models are neither trained nor deployed", "IMAGE_REGISTRY": "no image is built"}


def checks() -> tuple[Check, ...]:
    """Return what is asked: of GitHub itself only with a token, and where the project is there."""
    here = (origin, workflows, owners, login)
    if not os.environ.get("GITHUB_TOKEN"):
        return (*here, token)
    try:
        repository()
    except ContractError:  # as `origin` tells
        return here
    return (*here, pull_requests, switches, signing, environments, protection)


def token() -> str:
    """May GitHub be asked for the repository's settings?"""
    mend = "GITHUB_TOKEN=$(gh auth token) ml doctor github"
    raise Doubt("settings", "GitHub tells nobody of its settings without a token", mend)


def origin() -> str:
    """Is there a remote repository?"""
    return f"origin is {remote()}"


def workflows() -> str:
    """Are the workflows there, committed?"""
    found = sorted(path.name for path in WORKFLOWS.glob("*.y*ml"))
    if not found:
        raise ContractError("workflows", f"{WORKFLOWS} holds none", "Take .github from the template again")
    if unknown := _git("ls-files", "--others", "--", str(WORKFLOWS)):
        raise ContractError("workflows", f"{unknown.split()[0]} is not committed", "git add .github && git commit")
    return f"{len(found)} workflows are there: {', '.join(found)}"


def login() -> str:
    """Is GitHub's command line logged in, where it is there?"""
    if not shutil.which("gh"):
        raise Doubt("gh", "GitHub's command line is not there", "Not needed; get it from https://cli.github.com")
    if subprocess.run(["gh", "auth", "status"], capture_output=True, check=False).returncode:
        raise ContractError("gh", "GitHub's command line is not logged in", "gh auth login")
    return "gh is logged in"


def pull_requests() -> str:
    """May workflows open pull requests, and are these checked?"""
    known = _names("secrets") & {APP_KEY} | _names("variables") & {APP_ID}
    if len(known) == 1:
        broken = f"of the app there is {known.pop()} alone"
        raise ContractError("pull requests", broken, f"Give both, the variable {APP_ID} and the secret {APP_KEY}")
    if known:
        return f"pull requests are opened by the app whose key is the secret {APP_KEY}"
    if not _told("/actions/permissions/workflow")["can_approve_pull_request_reviews"]:
        mend = f"Allow it: {_page('settings/actions')}, Workflow permissions; or let an app do it, see docs/github.md"
        raise ContractError("pull requests", "workflows may not open any", mend)
    checks = WORKFLOWS / CHECKS
    if not checks.exists() or "workflow_dispatch:" not in checks.read_text():
        broken = f"those of the default token start no workflow, and {CHECKS} cannot be started for them"
        raise ContractError("pull requests", broken, f"Add `workflow_dispatch:` to {CHECKS}, or let an app open them")
    return f"pull requests are opened by the default token, and {CHECKS} is started for each"


def switches() -> str:
    """Are the variables there without which workflows do nothing?"""
    for name, what in SWITCHES.items():
        if name not in _names("variables"):
            raise Doubt(
                "variables",
                f"there is no {name}: {what}",
                f"Set it, if they should be: {_page('settings/variables/actions')}",
            )
    return f"the workflows are switched on by {' and '.join(SWITCHES)}"


def signing() -> str:
    """Can workflows sign, and deployments prove it, where a key does so?"""
    conf = settings()
    if conf.signing.by != "key":
        return f"verdicts and images are signed by {conf.signing.by}, without a key"
    if not _git("ls-files", "--", str(conf.public_key)):
        mend = f"`ml attest --new-key`, unless it is there, then git add {conf.public_key.name} and git commit"
        raise ContractError("signing", f"{conf.public_key} is not committed: no signature can be proved", mend)
    if SIGNING_KEY not in _names("secrets"):
        mend = f"gh secret set {SIGNING_KEY} --env {DELIVERY} < {conf.signing_key}"
        raise ContractError("signing", f"there is no secret {SIGNING_KEY}: what is trained cannot be attested", mend)
    return f"verdicts and images are signed by the secret {SIGNING_KEY}"


def environments() -> str:
    """Has each folder of environments/ but this machine's own an environment that can ask for approval?"""
    folder = ROOT / settings().release.folder
    wanted = {each.parent.name for each in folder.glob("*/values.yaml")} - {"kind"}
    absent = wanted - {each["name"] for each in _told("/environments")["environments"]}
    if absent:
        broken = f"{', '.join(sorted(absent))} is not there"
        raise ContractError("environments", broken, f"Make it: {_page('settings/environments')}")
    return f"every environment that is deployed to is there: {', '.join(sorted(wanted)) or 'none so far'}"


def protection() -> str:
    """Does the default branch change by pull requests alone?"""
    branch = _told("")["default_branch"]
    rules = {each["type"] for each in _told(f"/rules/branches/{branch}")}
    if "pull_request" not in rules and not _told(f"/branches/{branch}")["protected"]:
        broken = f"anybody who can push may change {branch}, and so what runs"
        raise ContractError("protection", broken, f"Add a rule: {_page('settings/rules')}")
    return f"{branch} changes by pull requests alone"


def _names(kind: str) -> set[str]:
    """Return the names of the repository's secrets or variables, and of those of the workflows' own environment."""
    found = {each["name"] for each in _told(f"/actions/{kind}")[kind]}
    with suppress(Doubt):  # the first run that wants that environment makes it
        found |= {each["name"] for each in _told(f"/environments/{DELIVERY}/{kind}")[kind]}
    return found


def _git(*words: str) -> str:
    ran = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)
    return ran.stdout.strip()


def _page(path: str) -> str:
    return f"{server()}/{repository()}/{path}"


def _told(path: str) -> Any:
    """Return what GitHub tells of the repository; raises Doubt where this token may not ask."""
    hub = github()
    assert hub  # else nothing of this is asked
    try:
        return hub.get(path)
    except Refused as refused:
        if refused.status not in (403, 404):
            raise ContractError("GitHub", refused.broken, "Is GITHUB_TOKEN still valid?") from refused
        mend = "Give GITHUB_TOKEN read access to administration, actions, environments and secrets"
        raise Doubt("GitHub", f"{refused.broken}: this token may not see it", mend) from refused
