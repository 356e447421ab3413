"""A world whose truth is known, in which acting hides outcomes and a tenth of the entities is held out."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd

from ml.contract.bundle import Bundle
from ml.contract.events import FEATURES
from ml.contract.framing import Label
from ml.contract.release import Arm, Experiment
from ml.features.table import CATEGORIES, MISSING, NAMES, NUMBERS, Inputs

CHAMPION, CONSTANT, THRESHOLD = "c" * 64, "a" * 64, 0.3
RISK = NUMBERS[0].name
DAYS, A_DAY, HELD = 14, 1200, 0.1  # HELD: share of the rows in the holdout
FIRST = np.datetime64("2013-04-01")
OUT = Experiment(name="out", mode="holdout", arms={"challenger": Arm(bundle=CONSTANT, percent=10)})


def rule(hidden: str) -> Label:
    return Label.model_validate({"attribution_hours": 48, "absent": "drop", "hidden": hidden})


class Believes:
    """Believes that the odds grow with the one risk, as they did when it was trained."""

    def score(self, given: Inputs) -> np.ndarray:
        assert set(given.categories[:, 0]) == {MISSING}
        return believed(given.numbers[:, 0].astype(float))


MANIFEST = {"features": list(NAMES), "fit": {"span": ["2013-01-01", "2013-03-10"]}, "test": {"days": ["2013-03-31"]}}
BUNDLE = cast(Bundle, SimpleNamespace(digest=CHAMPION, manifest=MANIFEST, scorer=Believes()))


def believed(risk: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(2 - risk))


def true(risk: np.ndarray) -> np.ndarray:
    """By now great risks have become far greater."""
    return 1 / (1 + np.exp(2 - risk - 2 * np.maximum(risk - 1, 0)))


def world(seed: int, hidden: str = "positive", holds: bool | None = None) -> pd.DataFrame:
    """Labelled rows of two weeks; a tenth is held out, and decided on alike: by `holds`, else as hides no outcome."""
    chance = np.random.default_rng(seed)
    risk = chance.standard_normal(DAYS * A_DAY)
    held = chance.random(len(risk)) < HELD
    decision = np.where(held, hidden == "negative" if holds is None else holds, believed(risk) >= THRESHOLD)
    happens = (chance.random(len(risk)) < true(risk)).astype(float)
    frame = pd.DataFrame(
        {
            "day": (FIRST + np.arange(len(risk)) % DAYS).astype(str),
            "bundle": np.where(held, CONSTANT, CHAMPION),
            "score": np.where(held, 0.2, believed(risk)),
            "decision": decision,
            "outcome": np.where(decision == (hidden == "positive"), np.nan, happens),
            "delay_hours": 24.0,
            "fallback": "",
            "experiment": "out",
            "arm": np.where(held, "challenger", "champion"),
            FEATURES + CATEGORIES[0].name: None,
        }
    )
    frame[FEATURES + RISK] = risk.astype(np.float32)
    return frame
