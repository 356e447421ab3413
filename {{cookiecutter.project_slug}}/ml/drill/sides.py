"""Two models on the very same rows: the loss and the cost of each, and what one costs more than the other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.contract.framing import framing
from ml.statistics.inference import ratio
from ml.statistics.metrics import Estimate, cost_of, estimates

Floats = NDArray[np.float64]
TAIL = 0.025  # on each side of a 95 % interval


class Sides(NamedTuple):
    """Rows with their outcomes (0 or 1) and days, scored by the champion of their time and by the first model, [n]."""

    outcomes: NDArray[np.int64]
    days: NDArray[np.object_]
    champion: Floats
    first: Floats

    def compared(self) -> "Compared":
        """Compare them; whoever decides does so at the threshold that the costs make cheapest."""
        costs = framing().cost.costs
        champion, first = (estimates(self.outcomes, each, self.days, costs) for each in (self.champion, self.first))
        ours, theirs = (cost_of(self.outcomes, each >= costs.threshold, costs) for each in (self.champion, self.first))
        apart = ratio(ours - theirs, np.ones(len(ours)), self.days)
        return Compared(champion, first, Estimate(apart.value, apart.low(TAIL), apart.high(TAIL)))


class Compared(NamedTuple):
    """The metrics of both, and the champion's cost per thousand minus the first model's, by pairs of the same rows.

    Intervals are over days, 95 %.
    """

    champion: dict[str, Estimate]
    first: dict[str, Estimate]
    dearer: Estimate


def together(parts: Sequence[Sides]) -> Sides:
    """Return the rows of several stretches as one."""
    return Sides(*(np.concatenate(each) for each in zip(*parts, strict=True)))
