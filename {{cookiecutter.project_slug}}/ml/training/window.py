"""The training window, cut by days: what is fitted on, what decides, and what no training may see."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ml.contract.framing import FILE, framing
from ml.errors import ContractError
from ml.features.rows import Rows

FIRST = 0.4  # share of the days that come before the first fold


def split(whole: Rows) -> dict[str, Rows]:
    """Cut into `fit` and, the newest days, `test`; the days of the frozen test set are in neither."""
    time, frozen = framing().time, [str(day) for day in framing().frozen.days]
    open_to_training = ~np.isin(whole.days, frozen)
    days = np.unique(whole.days[open_to_training])
    if len(days) < time.test_days + 2 * (time.folds + 1):
        broken = f"{len(days)} days of data are too few to fit on beside {time.test_days} test days"
        raise ContractError("framing", f"{broken} and {time.folds} folds", f"Edit [time] in {FILE}")
    newest = whole.days >= days[-time.test_days]
    parts = {"fit": whole.where(open_to_training & ~newest), "test": whole.where(open_to_training & newest)}
    for name, part in parts.items():
        if len(found := np.unique(part.outcomes)) < 2:
            raise ContractError("framing", f"the {name} days hold outcome {found[0]} alone", f"Edit [time] in {FILE}")
    return parts


def folds(fit: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Yield forward-chaining splits: all days before a stretch, and the stretch.

    Every stretch is later than what it is judged by, as in production (Bergmeir and Benitez 2012).
    """
    days, count = np.unique(fit.days), framing().time.folds
    cuts = np.linspace(FIRST * len(days), len(days), count + 1).round().astype(int)
    for start, stop in pairwise(cuts):
        before, after = fit.of(days[:start]), fit.of(days[start:stop])
        if len(np.unique(before.outcomes)) < 2:
            broken = f"the days up to {days[start - 1]} hold one outcome alone, which no rung can be fitted on"
            raise ContractError("framing", broken, f"Edit [time] in {FILE}, or take a longer window")
        yield before, after
