"""One look at what was served: the newest matured days, their signals and performance, and the drift of the newest."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.contract import bundle, labels, release
from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.contract.profile import Profile
from ml.errors import ContractError
from ml.features.table import NUMBERS, SCORE
from ml.monitoring import drift, profiles
from ml.monitoring.arms import Arm, side_by_side
from ml.monitoring.drift import Drift
from ml.monitoring.holdout import Honest, honest
from ml.monitoring.observations import Observations, observations
from ml.monitoring.signal import Signal, highest_estimate, signals
from ml.settings import settings
from ml.statistics.metrics import Estimate, estimates
from ml.statistics.unlabelled import expected_losses
from ml.store import files

ENOUGH = 7  # matured days below which nothing is said
LIGHT = ("bundle", "score", "outcome", "day", "delay_hours")  # all that is read where nothing has to be scored again


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

    `served` is all that the champion may be judged by, `window` the newest matured days of it; `newest` are the newest
    days, matured or not, of which `profiles` are, beside that of the training table. `biased` says why what is measured
    does not hold for all, and is empty where it does.
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
    biased: str

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
    conf, named = settings(), release.read()
    champion = bundle.load(conf.store_url, named.champion)
    trained = Profile.load(files.read(files.join(bundle.folder(conf.store_url, champion.digest), bundle.PROFILE)))
    hides = framing().label.hidden != "none"
    rows = labels.read(conf.labels_url, columns=() if hides else LIGHT)
    own = observations(rows[rows.bundle == champion.digest])
    judged = honest(rows, champion, named.experiment, framing().label) if hides else Honest(own)
    newest = own.newest(until, conf.monitor.drift_days)
    window = judged.rows.window(until, conf.monitor.window_days)
    return judge(champion, trained, judged, window, newest, _profiles(champion, newest), _arms(window))


def judge(
    champion: Bundle,
    trained: Profile,
    judged: Honest,
    window: Observations,
    newest: Observations,
    profiles: Mapping[str, Profile],
    arms: list[Arm],
) -> Look:
    """Compare a window of what was served, and its newest days, with what the champion was trained on.

    `profiles` are of the newest days, by ISO 8601 day.
    """
    matured = window.where(window.matured)
    days = len(np.unique(matured.days))
    if days < ENOUGH:
        raise ContractError(
            "monitor",
            f"{days} days that {champion.digest[:12]} served have outcomes, a verdict needs {ENOUGH}",
            "Serve or `ml replay` more, or name a later day with --until",
        )
    expected = expected_losses(newest.scores)[framing().task.metric].mean()
    return Look(
        champion,
        judged.rows,
        window,
        newest,
        list(signals(champion.reference, matured.outcomes, matured.scores, matured.days)),
        Expected(float(expected), highest_estimate(champion.reference, len(profiles))),
        drift.drifts(champion.reference, profiles, importance(champion)),
        estimates(matured.outcomes, matured.scores, matured.days, framing().cost.costs),
        (trained, drift.merged(profiles)),
        arms,
        judged.reason,
    )


def importance(champion: Bundle) -> Mapping[str, float]:
    """Return how much the champion's loss owes to each feature; nothing where it was not asked when it was sealed."""
    return dict(champion.manifest.get("importance") or {})


def _profiles(champion: Bundle, newest: Observations) -> dict[str, Profile]:
    """Return the profiles of the days of some observations.

    A day of which not all is profiled yet, because segments of the event log are still open, is taken from its labels.
    """
    days, rows = np.unique(newest.days, return_counts=True)
    span = _span(newest)
    kept = dict(profiles.read(settings().profiles_url, champion.digest, None, *span)) if span else {}
    found = {str(day): each for day, each in kept.items()}
    return {
        str(day): found[str(day)]
        if str(day) in found and found[str(day)].summary(SCORE)["count"] >= count
        else _of_labels(champion, date.fromisoformat(str(day)))
        for day, count in zip(days, rows, strict=True)
    }


def _of_labels(champion: Bundle, day: date) -> Profile:
    rows = labels.read(settings().labels_url, day, day)
    rows = rows[rows.bundle == champion.digest]
    features = labels.features(rows)
    numbers = [each.name for each in NUMBERS if each.name in features]
    return Profile.of(features.astype(dict.fromkeys(numbers, np.float32)).assign(**{SCORE: rows.score}))


def _arms(window: Observations) -> list[Arm]:
    span = _span(window)
    return list(side_by_side(settings().labels_url, *span)) if span else []


def _span(of: Observations) -> tuple[date, date] | None:
    """Return the first and last day of observations; None where there are none."""
    days = np.unique(of.days)
    return (date.fromisoformat(str(days[0])), date.fromisoformat(str(days[-1]))) if len(days) else None
