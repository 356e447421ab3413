"""One look at what was served: the newest matured days, their signals and performance, and the drift of the newest."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.contract import bundle, release
from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.contract.profile import Profile
from ml.errors import ContractError
from ml.monitoring import drift
from ml.monitoring.arms import Arm, side_by_side
from ml.monitoring.drift import Drift
from ml.monitoring.observations import Observations, observe
from ml.monitoring.signal import Signal, highest_estimate, signals
from ml.settings import settings
from ml.statistics.metrics import Estimate, estimates
from ml.statistics.unlabelled import expected_losses
from ml.store import files

ENOUGH = 7  # matured days below which nothing is said


class Expected(NamedTuple):
    """The loss that scores of the newest days let expect, a row, and how high it is by chance at most."""

    loss: float
    high: float

    @property
    def worse(self) -> bool:
        """Whether the model itself expects to do worse than in any window like training's."""
        return self.loss > self.high


@dataclass(frozen=True)
class Look:
    """All that verdict and report are made of.

    `window` are the newest matured days, `newest` the newest days whether matured or not; `profiles` are of the
    training table and of `newest`.
    """

    bundle: Bundle
    served: Observations
    window: Observations
    newest: Observations
    signals: list[Signal]
    expected: Expected
    drifts: list[Drift]
    performance: dict[str, Estimate]
    profiles: tuple[Profile, Profile]
    arms: list[Arm]

    @property
    def matured(self) -> Observations:
        """The rows of the window that have an outcome."""
        return self.window.where(self.window.matured)

    @property
    def days(self) -> NDArray[Any]:
        """The days of the window that have outcomes, in order: those that signals and limits are about."""
        return np.unique(self.matured.days)


def look(until: date | None) -> Look:
    """Look at what this environment's champion has served.

    Raises ContractError where too little was served to say anything.
    """
    conf = settings()
    champion = bundle.load(conf.store_url, release.read().champion)
    served = observe(conf.labels_url, champion.digest)
    trained = Profile.load(files.read(files.join(bundle.folder(conf.store_url, champion.digest), bundle.PROFILE)))
    window = served.window(until, conf.monitor.window_days)
    arms = []
    if len(window.days):
        first, last = (date.fromisoformat(str(day)) for day in np.unique(window.days)[[0, -1]])
        arms = list(side_by_side(conf.labels_url, first, last))
    return judge(champion, trained, served, window, served.newest(until, conf.monitor.drift_days), arms)


def judge(
    champion: Bundle,
    trained: Profile,
    served: Observations,
    window: Observations,
    newest: Observations,
    arms: list[Arm],
) -> Look:
    """Compare a window of what was served, and its newest days, with what the champion was trained on."""
    matured = window.where(window.matured)
    days = len(np.unique(matured.days))
    if days < ENOUGH:
        raise ContractError(
            "monitor", f"{days} days have outcomes, a verdict needs {ENOUGH}", "Serve or `ml replay` more"
        )
    profiles = drift.profile(newest)
    expected = expected_losses(newest.scores)[framing().task.metric].mean()
    return Look(
        champion,
        served,
        window,
        newest,
        list(signals(champion.reference, matured.outcomes, matured.scores, matured.days)),
        Expected(float(expected), highest_estimate(champion.reference, len(profiles))),
        drift.drifts(champion.reference, profiles, importance(champion)),
        estimates(matured.outcomes, matured.scores, matured.days, framing().cost.costs),
        (trained, drift.merged(profiles)),
        arms,
    )


def importance(champion: Bundle) -> Mapping[str, float]:
    """Return how much the champion's loss owes to each feature; nothing where it was not asked when it was sealed."""
    return dict(champion.manifest.get("importance") or {})
