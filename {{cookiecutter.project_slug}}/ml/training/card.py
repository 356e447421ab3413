"""The model card (Mitchell et al. 2019), as Markdown and as a page: what it is for, how good, where it comes from."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.contract import bundle
from ml.contract.framing import framing
from ml.features.rows import Rows
from ml.features.table import CATEGORIES, MISSING
from ml.pages import page, picture
from ml.problem.features import FEATURES
from ml.settings import settings
from ml.statistics.metrics import Estimate, losses
from ml.training import plots

TEXT, PAGE = (Path(__file__).with_name(name) for name in ("card.md", "card.html"))
LADDER = ("log_loss", "roc_auc", "cost")  # what the ladder is compared by


class Slice(NamedTuple):
    """A part of the test days: how many rows, how often positive, how often so predicted, and the loss."""

    name: str
    rows: int
    observed: float
    predicted: float
    loss: float


def card(manifest: dict[str, Any], test: Rows, scores: NDArray[np.float64]) -> dict[str, bytes]:
    """Return both forms of the card by file name; `scores` are the model's of the test days."""
    importance, contributions = manifest.get("importance", {}), manifest.get("contributions", {})
    ladder = {
        rung: each | {"test": {name: Estimate(**found) for name, found in each["test"].items()}}
        for rung in manifest["rungs"]
        for each in [manifest["ladder"][rung]]
    }
    content = {
        "project": settings().project,
        "framing": framing(),
        "manifest": manifest,
        "chosen": ladder[manifest["rung"]],
        "ladder": ladder,
        "compared": LADDER,
        "slices": slices(test, scores),
        "features": [feature for feature in FEATURES if feature.name in manifest["features"]],
        "importance": sorted(importance.items(), key=lambda each: -each[1]),
        "contributions": contributions,
    }
    pictures = {
        "calibration": picture.calibration(test.outcomes, scores, "test days"),
        "costs": plots.costs(test.outcomes, scores, framing().cost.costs),
        "importance": plots.bars(importance, "loss added by shuffling") if importance else "",
        "contributions": plots.bars(contributions, "mean contribution, log odds") if contributions else "",
    }
    text, html = page.render(TEXT, **content), page.render(PAGE, **content, pictures=pictures)
    return {bundle.CARD: text.encode(), bundle.PAGE: html.encode()}


def slices(test: Rows, scores: NDArray[np.float64]) -> list[Slice]:
    """Return every value of the framing's slice features that has enough rows and positives."""
    asked, found = framing().slices, []
    loss = losses(test.outcomes, scores)[framing().task.metric]
    names = [feature.name for feature in CATEGORIES]
    for feature in asked.features:
        values = test.inputs.categories[:, names.index(feature)]
        for value in sorted(set(values.tolist()) - {MISSING}):
            of = values == value
            if of.sum() >= asked.rows and test.outcomes[of].sum() >= asked.positives:
                measured = (float(each[of].mean()) for each in (test.outcomes, scores, loss))
                found.append(Slice(f"{feature} {value}", int(of.sum()), *measured))
    return found
