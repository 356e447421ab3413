"""The model card's own pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.pages.picture import CALM, INK, STRONG, Axes, as_high_as, picture
from ml.statistics.metrics import Costs

STEPS = 201  # thresholds of the cost curve


@picture(4.4, 3.2)
def costs(axes: Axes, outcomes: NDArray[Any], scores: NDArray[np.float64], costs: Costs) -> None:
    """Cost per thousand decisions over the threshold, beside acting always and never."""
    thresholds = np.linspace(0, 0.5 if costs.threshold < 0.4 else 1, STEPS)
    positive, rows = np.sort(scores[outcomes == 1]), len(outcomes)
    negative = np.sort(scores[outcomes == 0])
    misses = np.searchsorted(positive, thresholds)
    alarms = len(negative) - np.searchsorted(negative, thresholds)
    spent = 1000 * (alarms * costs.false_alarm + misses * costs.miss) / rows
    axes.axhline(1000 * len(negative) * costs.false_alarm / rows, color=CALM, lw=1, ls="--", label="always act")
    axes.axhline(1000 * len(positive) * costs.miss / rows, color=CALM, lw=1, ls=":", label="never act")
    axes.plot(thresholds, spent, color=STRONG, label="model")
    axes.axvline(costs.threshold, color=INK, lw=1.5)
    axes.set(xlabel="threshold; the upright line is the framing's", xlim=thresholds[[0, -1]])
    axes.set(ylabel="cost per thousand", ylim=(0, None))
    axes.legend(ncols=3, loc="upper left", bbox_to_anchor=(-0.1, 1.16), columnspacing=1)


@picture(4.4, 2)
def bars(axes: Axes, values: dict[str, float], unit: str) -> None:
    """Values by name, the largest on top."""
    names = sorted(values, key=values.__getitem__)
    as_high_as(0.7 + 0.22 * len(names))
    axes.barh(names, [values[name] for name in names], 0.7, color=STRONG)
    axes.set(xlabel=unit, ylim=(-0.6, len(names) - 0.4))
    axes.locator_params(axis="x", nbins=4)
    axes.grid(visible=False, axis="y")
    axes.tick_params(left=False)
