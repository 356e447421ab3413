"""Brings a release to its environment: proves it, puts it there, asks it, watches it.

Where something speaks against it, the last good release answers again at once, and people are told.
"""

from ml.attestation.verify import answering, verify
from ml.cluster.ways import variables
from ml.contract.release import Release
from ml.delivery import deployments
from ml.delivery.bake import Found, bake
from ml.delivery.breach import restored, take_back
from ml.delivery.deployments import Deployment
from ml.delivery.targets.helm import Helm
from ml.delivery.targets.processes import Processes
from ml.delivery.targets.target import Target
from ml.errors import ContractError
from ml.progress import say
from ml.settings import settings


def deploy(environment: str, again: bool = False) -> bool:
    """Deploy what an environment's release file names, and say whether it stayed; one at a time.

    Raises ContractError, and changes nothing, where the release cannot be proved or does not come to answer, or where
    the last deployment of the very same did harm, unless it is to be tried `again`.
    """
    with variables(ML_RELEASE_ENVIRONMENT=environment):
        told, target = verify(environment), _target(environment)
        with target.alone():
            good = deployments.last(environment)
            if not again:
                _demand_no_harm(environment, told, good)
            known_as = _put(target, environment, told)
            found = _watched(target, environment, told, good)
            if found.broken is None:
                deployments.remember(environment, told, "good", found.said, known_as)
                say("deploy", f"{environment} is at plan {told.plan}, champion {told.champion[:12]}")
                return True
            take_back(target, environment, told, good, found.broken)
    return False


def down(environment: str) -> None:
    """End all that was deployed to an environment."""
    with variables(ML_RELEASE_ENVIRONMENT=environment):
        target = _target(environment)
        with target.alone():
            target.down()


def _target(environment: str) -> Target:
    return Helm(environment) if settings().deploy.target == "helm" else Processes(environment)


def _demand_no_harm(environment: str, told: Release, good: Deployment | None) -> None:
    """Raise ContractError where the last deployment was a breach of this very release, which was not good before."""
    newest = next(deployments.newest_first(environment), None)
    if newest is None or newest.outcome != "breach" or not newest.same_as(told):
        return
    if good and good.same_as(told) and good.revision == newest.revision:
        return  # it is what answers now: another cause than the release did the harm
    broken = f"plan {told.plan} did harm when it was deployed to {environment} last: {newest.said}"
    mend = f"Run `ml release revert {environment}`; or mend the cause, and insist by `ml deploy {environment} --again`"
    raise ContractError("deploy", broken, mend)


def _put(target: Target, environment: str, told: Release) -> str | None:
    """Bring a release to answer everybody, and return how the target calls it; what does not is remembered."""
    try:
        return target.put(told)
    except BaseException as error:
        deployments.remember(environment, told, "failed", _words(error))
        raise


def _watched(target: Target, environment: str, told: Release, good: Deployment | None) -> Found:
    """Ask what was put there, and watch it; where that is broken off, go back: nobody would see what it does."""
    try:
        target.smoke(told)
        return bake(target, answering(told))
    except ContractError as error:
        return Found(error.broken)
    except BaseException as error:
        deployments.remember(environment, told, "failed", f"not watched to the end: {_words(error)}")
        say("deploy", restored(target, good))
        raise


def _words(error: BaseException) -> str:
    if isinstance(error, ContractError):
        return error.broken
    return "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
