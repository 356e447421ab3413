"""A release at work: the champion, ready to score, and the challengers of its experiment with who gets them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.contract.release import CHAMPION, Release
from ml.contract.secrets import salt
from ml.features.table import CATEGORIES, Inputs
from ml.serving.challenger import Challenger, Model
from ml.serving.remote import Remote
from ml.serving.router import Router

PATIENCE = 1.0  # seconds for a shadow, whom nobody waits for


class Local:
    """A bundle in this process."""

    def __init__(self, bundle: Bundle) -> None:
        self._scorer = bundle.scorer

    def score(self, given: Inputs, records: Sequence[Any]) -> NDArray[np.float64]:
        """Return the bundle's scores, [n]."""
        return self._scorer.score(given)


class Plan:
    """What one release means to a service that has its bundles; place 0 is the champion's, the arms' come after."""

    def __init__(self, release: Release, bundles: Mapping[str, Bundle]) -> None:
        self.release, self.name = release, release.plan
        self.champion, self.experiment = bundles[release.champion], release.experiment
        self.known = {feature.name: self.champion.reference.known(feature.name) for feature in CATEGORIES}
        self.base = float(self.champion.manifest["fit"]["base"])  # what is answered when not even the champion can
        arms = self.experiment.arms if self.experiment else {}
        self.arms = np.array([CHAMPION, *arms], dtype=object)
        self.bundles = np.array([release.champion, *(arm.bundle for arm in arms.values())], dtype=object)
        self.labels = [each if "://" in told else told[:12] for each, told in zip(self.arms, self.bundles, strict=True)]
        self.thresholds = np.array([bundles.get(each, self.champion).threshold for each in self.bundles])
        self.shadow = self.experiment is not None and self.experiment.mode == "shadow"
        self.patience = PATIENCE if self.shadow else framing().budget.latency_p99_ms / 1000
        self.challengers = [
            Challenger(_model(arm.bundle, bundles, self.patience), self.patience, self.shadow) for arm in arms.values()
        ]
        self._router = Router(self.experiment, salt()) if self.experiment else None

    def assign(self, entities: NDArray[np.object_]) -> NDArray[np.int64]:
        """Return the place of each entity's arm, [n]; 0 for all where there is no experiment."""
        return self._router.assign(entities) if self._router else np.zeros(len(entities), dtype=np.int64)

    def close(self) -> None:
        """Let the challengers' threads end."""
        for challenger in self.challengers:
            challenger.close()


def _model(bundle: str, bundles: Mapping[str, Bundle], patience: float) -> Model:
    return Local(bundles[bundle]) if bundle in bundles else Remote(bundle, patience)
