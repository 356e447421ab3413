"""One look at what was served: the newest matured days, their signals and performance, and the drift of the newest."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np

from ml.contract import bundle, labels, release
from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.contract.profile import Profile
from ml.contract.reference import Reference
from ml.errors import ContractError
from ml.features.table import NUMBERS, SCORE
from ml.monitoring import drift, profiles
from ml.monitoring.arms import Arm, side_by_side
from ml.monitoring.daily import Daily
from ml.monitoring.drift import Drift
from ml.monitoring.seen import DRAWN, Seen, read
from ml.monitoring.signal import Signal, highest_estimate, signals
from ml.settings import settings
from ml.statistics.metrics import Estimate, estimates

ENOUGH = 7  # matured days below which nothing is said


class Expected(NamedTuple):
    """The loss that scores of the newest days let expect, a row, and how high it is by chance at most."""

    loss: float
    high: float

    @classmethod
    def of(cls, reference: Reference, newest: Daily) -> "Expected":
        """Return what the scores of some days let expect, and what days like the reference's would."""
        return cls(float(newest.expected.sum() / newest.served.sum()), highest_estimate(reference, len(newest.days)))

    @property
    def worse(self) -> bool:
        """Whether the model itself expects to do worse than in any window like training's."""
        return self.loss > self.high


@dataclass(frozen=True)
class Look:
    """All that verdict and report are made of; `profiles` are of the training table and of the newest days."""

    bundle: Bundle
    seen: Seen
    signals: list[Signal]
    expected: Expected
    drifts: list[Drift]
    performance: dict[str, Estimate]
    profiles: tuple[Profile, Profile]
    arms: list[Arm]

    @property
    def matured(self) -> Daily:
        """The days of the window that have outcomes: those that signals and limits are about."""
        return self.seen.window.with_outcomes


def look(until: date | None) -> Look:
    """Look at what this environment's champion has served.

    Raises ContractError where too little was served to say anything.
    """
    conf, named = settings(), release.read()
    champion = bundle.load(conf.store_url, named.champion)
    seen = read(champion, named.experiment, until)
    arms = list(side_by_side(conf.labels_url, *span, DRAWN)) if (span := seen.window.span) else []
    return judge(champion, profiles.of_training(champion), seen, _profiles(champion, seen.newest), arms)


def judge(champion: Bundle, trained: Profile, seen: Seen, profiles: Mapping[str, Profile], arms: list[Arm]) -> Look:
    """Compare what was served with what the champion was trained on; `profiles` are of the newest days, by their names.

    Raises ContractError where too few days have outcomes.
    """
    if (days := len(seen.window.with_outcomes.days)) < ENOUGH:
        raise ContractError(
            "monitor",
            f"{days} days that {champion.digest[:12]} served have outcomes, a verdict needs {ENOUGH}",
            "Serve or `ml replay` more, or name a later day with --until",
        )
    drawn = seen.drawn
    return Look(
        champion,
        seen,
        list(signals(champion.reference, seen.window)),
        Expected.of(champion.reference, seen.newest),
        drift.drifts(champion.reference, profiles, importance(champion)),
        estimates(drawn.outcomes, drawn.scores, drawn.days, framing().cost.costs),
        (trained, drift.merged(profiles)),
        arms,
    )


def importance(champion: Bundle) -> Mapping[str, float]:
    """Return how much the champion's loss owes to each feature; nothing where it was not asked when it was sealed."""
    return dict(champion.manifest.get("importance") or {})


def _profiles(champion: Bundle, newest: Daily) -> dict[str, Profile]:
    """Return the profiles of some days.

    A day of which not all is profiled yet, because segments of the event log are still open, is taken from its labels.
    """
    span = newest.span
    kept = dict(profiles.read(settings().profiles_url, champion.digest, None, *span)) if span else {}
    found = {str(day): each for day, each in kept.items()}
    return {
        str(day): found[str(day)]
        if str(day) in found and found[str(day)].summary(SCORE)["count"] >= count
        else _of_labels(champion, date.fromisoformat(str(day)))
        for day, count in zip(newest.days, newest.served, strict=True)
    }


def _of_labels(champion: Bundle, day: date) -> Profile:
    rows = labels.read(settings().labels_url, day, day)
    rows = rows[rows.bundle == champion.digest]
    features = labels.features(rows)
    numbers = [each.name for each in NUMBERS if each.name in features]
    return Profile.of(features.astype(dict.fromkeys(numbers, np.float32)).assign(**{SCORE: rows.score}))
