"""Was the split as planned? Where not, arms differ by more than their models, and nothing can be trusted."""

from collections.abc import Mapping

from scipy.stats import chisquare

LEAST = 5.0  # entities that each arm is expected to have before chi-square holds


def sample_ratio(counts: Mapping[str, int], shares: Mapping[str, float]) -> float | None:
    """Return the p-value of so many entities an arm against the planned shares (chi-square, Fabijan et al. 2019).

    0 where an arm was never planned. None where an arm is expected to have fewer than five: too early to say.
    """
    if any(counts[arm] for arm in counts.keys() - {arm for arm in shares if shares[arm] > 0}):
        return 0.0
    planned = {arm: share / sum(shares.values()) for arm, share in shares.items() if share > 0}
    total = sum(counts.values())
    if len(planned) < 2 or min(planned.values()) * total < LEAST:
        return None
    return float(chisquare([counts.get(arm, 0) for arm in planned], [total * share for share in planned.values()])[1])
