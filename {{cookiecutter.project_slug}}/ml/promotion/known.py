"""Gathers what is known of this process's environment before its next step: release files, verdicts, deployments."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from pydantic import ValidationError

from ml.contract import bundle as bundles
from ml.contract import release as contract
from ml.contract import verdict
from ml.contract.clock import Clock
from ml.contract.framing import fingerprint
from ml.contract.release import Release, Role
from ml.delivery import deployments
from ml.delivery.deployments import Deployment
from ml.errors import ContractError
from ml.experiment.experiment import FOLDER
from ml.experiment.verdict import Verdict as Analysis
from ml.promotion.case import Case, candidate, name_of
from ml.settings import settings
from ml.store import files


def known(bundle: str | None, images: Mapping[str, str]) -> Case:
    """Return what is known; raises ContractError for no stage, no such bundle, and an image that is not by digest."""
    conf, store = settings(), settings().store_url
    environment, stages = conf.release.environment, conf.promotion.stages
    if environment not in stages:
        broken = f"{environment} is none of the stages {', '.join(stages)}"
        raise ContractError("promotion", broken, "Name one, or edit [promotion] stages in project.toml")
    stage_before = stages[stages.index(environment) - 1] if environment != stages[0] else None
    now, deployed = contract.of(environment), deployments.history(environment)
    found = Case(
        environment,
        Clock("wall").now(),
        fingerprint(),
        now=now,
        asked=bundles.resolve(store, bundle) if bundle else None,
        newest=_newest(store),
        images=_by_digest(images),
        stage_before=stage_before,
        before=running(stage_before) if stage_before else None,
        analysis=_analysis(now.experiment.name) if now and now.experiment else None,
        recorded=bool(deployed),
        since=_since(deployed, now),
        breaches=tuple(each for each in deployed if each.outcome == "breach"),
    )
    return _with_evidence(found)


def _with_evidence(case: Case) -> Case:
    """Return the case with what is known of its candidate against who answers now."""
    digest, champion = candidate(case), case.now.champion if case.now else None
    if digest is None or digest == champion or "://" in digest:
        return case
    store = settings().store_url
    gate = verdict.load(store, digest, champion or bundles.load(store, digest).baseline)
    tried = case.now and case.now.experiment
    return replace(case, gate=gate, failed=None if tried or not champion else _failed(digest, champion, case.framing))


def _newest(store: str) -> str | None:
    return bundles.newest(store) if files.names(files.join(store, "bundles")) else None


def _by_digest(images: Mapping[str, str]) -> dict[Role, str]:
    try:
        return Release.model_validate({"champion": "0" * 64, "images": images}).images
    except ValidationError as error:
        role = str(error.errors()[0]["loc"][1])
        broken = f"{role}={images[role]} is not the image of a role by its digest"
        mend = "Name it as serving=<repository>@sha256:<64 hex digits>; roles are serving, training and stream"
        raise ContractError("release", broken, mend) from error


def running(environment: str) -> Release | None:
    """Return what an environment runs: what was deployed well last, or its file where nobody writes that down."""
    if not deployments.history(environment):
        return contract.of(environment)
    last = deployments.last(environment)
    return last.release if last else None


def _since(deployed: list[Deployment], now: Release | None) -> datetime | None:
    """Return when a release was first deployed, if it is what was deployed last; None otherwise."""
    since = None
    for each in reversed([each for each in deployed if each.outcome == "good"]):
        if each.release != now:
            break
        since = each.at
    return since


def _analysis(name: str) -> Analysis | None:
    """Return the last verdict on an experiment of this environment; None where it was not judged."""
    file = files.join(settings().reports_url, FOLDER, f"{name}.json")
    try:
        return Analysis.model_validate_json(files.read(file))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ContractError("experiment", f"{file} cannot be read", "Run `ml experiment` again") from error


def _failed(challenger: str, champion: str, framing: str) -> Analysis | None:
    """Return a verdict by which this bundle was withdrawn from beside this champion, by today's framing."""
    tried = tuple(name_of(mode, challenger, champion) for mode in ("shadow", "canary"))
    names = [name for name in files.names(files.join(settings().reports_url, FOLDER)) if name.startswith(tried)]
    found = [_analysis(name.removesuffix(".json")) for name in names if name.endswith(".json")]
    return next((each for each in found if each and (each.verdict, each.framing) == ("fail", framing)), None)
