"""Many questions at once: which of them count as answered, so that one false answer stays as rare as asked."""

import numpy as np
from numpy.typing import NDArray


def discoveries(p_values: NDArray[np.float64], weights: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
    """Return which p-values are discoveries at a false discovery rate (Benjamini and Hochberg 1995), [n].

    Weights, positive and 1 on average, say beforehand which questions matter more (Genovese, Roeder and Wasserman
    2006). Where nothing is to be found, one discovery or more is as rare as `rate`.
    """
    weighted = p_values / weights
    order = np.argsort(weighted, kind="stable")
    holds = weighted[order] <= rate * np.arange(1, len(order) + 1) / len(order)
    found = np.zeros(len(order), dtype=bool)
    found[order[: np.flatnonzero(holds)[-1] + 1 if holds.any() else 0]] = True
    return found


def weights_of(importance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights of variables from how much each matters, 1 on average and a half at least, [n]."""
    positive = np.maximum(importance, 0)
    if not positive.sum():
        return np.ones(len(positive))
    return np.asarray(0.5 + 0.5 * positive / positive.mean())
