"""What runs in each environment, what is proposed there, and what the last stage does not have yet."""

from collections.abc import Iterator

from ml.contract import release as contract
from ml.contract.release import Release
from ml.delivery import deployments
from ml.errors import ContractError
from ml.progress import say, table
from ml.promotion import remembered
from ml.promotion.known import running
from ml.promotion.named import environments
from ml.settings import settings


def status() -> None:
    """Print for each environment its release, deployment and proposals, and what is not in the last stage."""
    failed, proposals, rows = remembered.fetch(), list(remembered.proposals()), list[tuple[str, str, str]]()
    for name in environments():
        facts = [*_runs(name), *(_proposed(each) for each in proposals if each.environment == name)]
        rows += [("" if place else name, what, said) for place, (what, said) in enumerate(facts)]
    table("", ("environment", "what", "now"), rows)
    if failed:
        say("release", f"what is proposed may be out of date: {' '.join(failed.split())}")
    last = settings().promotion.stages[-1]
    say("release", f"not yet in {last}: {', '.join(_missing(last)) or 'nothing'}")


def words(told: Release) -> str:
    """Return in words who answers whom."""
    if told.experiment is None:
        return f"champion {told.champion[:12]}"
    arms = ", ".join(f"{arm.bundle[:12]} {arm.percent:g} %" for arm in told.experiment.arms.values())
    return f"champion {told.champion[:12]}, {told.experiment.mode} {arms}"


def _runs(environment: str) -> Iterator[tuple[str, str]]:
    told, deployed = contract.of(environment), deployments.history(environment)
    yield "release", words(told) if told else "nothing"
    yield from ((f"image {role}", _short(image)) for role, image in (told.images if told else {}).items())
    if deployed:
        newest = deployed[-1]
        other = "" if newest.release == told else f": another release, {words(newest.release)}"
        yield "deployed", f"{newest.at:%Y-%m-%d %H:%M} UTC, {newest.outcome}{other}"
        if newest.outcome != "good":
            yield "because", newest.said
            good = running(environment)
            yield "runs", words(good) if good else "nothing that was good"
    else:
        yield "deployed", "never by `ml deploy`"


def _short(image: str) -> str:
    repository, _, digest = image.partition("@sha256:")
    return f"{repository}@{digest[:12]}"


def _proposed(each: remembered.Proposal) -> tuple[str, str]:
    try:
        return f"{each.branch}:", words(contract.parse(each.content, each.branch))
    except ContractError as error:
        return f"{each.branch}:", error.broken


def _missing(last: str) -> Iterator[str]:
    """Yield what earlier stages have and the last one does not run: champions, challengers and images."""
    told = running(last)
    here = {*(told.digests if told else ()), *(told.images.values() if told else ())}
    for stage in settings().promotion.stages[:-1]:
        if other := contract.of(stage):
            yield from (f"{digest[:12]} of {stage}" for digest in other.digests if digest not in here)
            yield from (f"image {role} of {stage}" for role, image in other.images.items() if image not in here)
