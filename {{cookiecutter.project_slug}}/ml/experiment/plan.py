"""What was planned: the experiment that the release names; of a past one, nobody knows the shares any more."""

from dataclasses import dataclass
from typing import get_args

from ml.contract import release
from ml.contract.release import CHAMPION, Mode
from ml.errors import ContractError


@dataclass(frozen=True)
class Plan:
    """What is analysed: the shares of all arms in per cent, and the plan of the release, or None where not known."""

    name: str
    mode: Mode
    shares: dict[str, float] | None
    release: str | None = None


def plan(name: str | None = None, mode: Mode | None = None) -> Plan:
    """Return the plan of the experiment `name`, by default of the one that runs.

    Raises ContractError where none runs, where the mode of a past one is not told, and where it is told otherwise than
    the release has it: what is claimed is settled before anybody looks.
    """
    told = release.read() if release.champion() else None
    now = told.experiment if told else None
    if now is None and name is None:
        raise ContractError("experiment", "the release names none", "Name a past one with --name and --mode")
    if told is not None and now is not None and name in (None, now.name):
        if mode not in (None, now.mode):
            raise ContractError("experiment", f"{now.name} was planned as {now.mode}, not {mode}", "Leave out --mode")
        shares = {arm: each.percent for arm, each in now.arms.items()}
        return Plan(now.name, now.mode, {**shares, CHAMPION: 100 - sum(shares.values())}, told.plan)
    if mode is None:
        broken = f"{name} is not in the release, so what it was to show is not known"
        raise ContractError("experiment", broken, f"Add --mode: {', '.join(get_args(Mode))}")
    return Plan(str(name), mode, None)
