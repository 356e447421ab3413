"""One look at what was served: the newest matured days, their signal, drift and performance."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.contract import bundle, release
from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.contract.profile import Profile
from ml.errors import ContractError
from ml.monitoring import drift
from ml.monitoring.drift import Drift
from ml.monitoring.observations import Observations, observe
from ml.monitoring.signal import Signal, signal
from ml.settings import settings
from ml.statistics.metrics import Estimate, estimates
from ml.store import files

ENOUGH = 7  # matured days below which nothing is said


@dataclass(frozen=True)
class Look:
    """All that verdict and report are made of; `profiles` are of the training table and of the window."""

    bundle: Bundle
    served: Observations
    window: Observations
    signal: Signal
    drifts: list[Drift]
    performance: dict[str, Estimate]
    profiles: tuple[Profile, Profile]

    @property
    def matured(self) -> Observations:
        """The rows of the window that have an outcome."""
        return self.window.where(self.window.matured)

    @property
    def days(self) -> NDArray[Any]:
        """The days of the window that have outcomes, in order: those that signal and limits are about."""
        return np.unique(self.matured.days)


def look(until: date | None) -> Look:
    """Look at what this environment's champion has served.

    Raises ContractError where too little was served to say anything.
    """
    conf = settings()
    champion = bundle.load(conf.store_url, release.read().champion)
    served = observe(conf.labels_url, champion.digest)
    trained = Profile.load(files.read(files.join(bundle.folder(conf.store_url, champion.digest), bundle.PROFILE)))
    return judge(champion, trained, served, served.window(until, conf.monitor.window_days))


def judge(champion: Bundle, trained: Profile, served: Observations, window: Observations) -> Look:
    """Compare a window of what was served with what the champion was trained on."""
    matured = window.where(window.matured)
    days = len(np.unique(matured.days))
    if days < ENOUGH:
        raise ContractError(
            "monitor", f"{days} days have outcomes, a verdict needs {ENOUGH}", "Serve or `ml replay` more"
        )
    profiled = drift.profile(window)
    return Look(
        champion,
        served,
        window,
        signal(champion.reference, matured.outcomes, matured.scores, days),
        list(drift.drifts(champion.reference, profiled, days)),
        estimates(matured.outcomes, matured.scores, matured.days, framing().cost.costs),
        (trained, profiled),
    )
