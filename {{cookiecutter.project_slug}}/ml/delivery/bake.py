"""Watches what was deployed while it answers everybody, and says what speaks against it, as soon as that is sure.

Each question is about a share of the answers: of those that failed, were slow, or were scored otherwise than in
training. Looking all the time errs no more often than looking once: a sequential probability ratio test (Wald 1945).
"""

import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.contract import bundle
from ml.contract.framing import framing
from ml.contract.reference import Variable
from ml.delivery import metrics
from ml.delivery.metrics import Counts, Share
from ml.delivery.targets.target import Target
from ml.features.table import SCORE
from ml.progress import say
from ml.settings import settings

ALPHA = 0.001  # how often a release that is as it should be is taken back, by all questions together
SLOWEST = 0.01  # share of the answers that may be slower than the 99th percentile
LOOKS, SELDOM = 20, 15.0  # looks in the whole bake, at least; seconds between two, at most


class Found(NamedTuple):
    """What was seen: what speaks against the release, None where nothing does, and of how many answers."""

    broken: str | None
    answers: float = 0

    @property
    def said(self) -> str:
        """What was seen of a release that stays."""
        if not self.answers:
            return "nobody asked while it was watched, so that nothing could speak against it"
        return f"{self.answers:,.0f} answers were watched, and nothing spoke against it"


def bake(target: Target, answering: Sequence[str]) -> Found:
    """Watch for [deploy] bake_minutes; returns what speaks against the release, with its numbers."""
    seconds = settings().deploy.bake_minutes * 60
    deadline, pause = time.monotonic() + seconds, min(SELDOM, seconds / LOOKS)
    usual = {digest: _usual(digest) for digest in answering}
    first, total, silent = dict[str, Counts](), Counts(), set[str]()
    while time.monotonic() < deadline:
        pages = target.metrics()
        told = {replica: metrics.counts(page) for replica, page in pages.items() if page}
        before, silent = silent, pages.keys() - told.keys()
        if not pages:
            return Found("no replica is there")
        if again := before & silent:  # one look may fall into a replica's end
            return Found(f"{min(again)} tells nothing: it has ended, or cannot be reached")
        first = first or told  # who comes later was started by this deployment
        total = metrics.since(told, first)
        if broken := next(_against(total, usual), None):
            return Found(broken, metrics.failed(total).whole)
        time.sleep(pause)
    answered = metrics.failed(total)
    say("deploy", f"watched for {seconds:g} s: {answered.whole:,.0f} answers, {answered.part:,.0f} of them failed")
    return Found(None, answered.whole)


def _against(found: Counts, usual: dict[str, dict[float, tuple[float, float]]]) -> Iterator[str]:
    """Yield what is surely not as it should be."""
    conf = settings().deploy
    alpha = ALPHA / (2 + 2 * sum(map(len, usual.values())))
    errors = metrics.failed(found)
    if surely_more(errors, conf.error_rate, alpha):
        yield f"{_told(errors)} of the answers failed, where {conf.error_rate:.1%} may"
    limit = (conf.latency_p99_ms or framing().budget.latency_p99_ms) / 1000
    slow = metrics.slow(found, limit)
    if surely_more(slow, SLOWEST, alpha):
        yield f"{_told(slow)} of the answers took longer than {limit * 1000:g} ms, where {SLOWEST:.0%} may"
    for digest, bounds in usual.items():
        for bound, share in metrics.scored(found, digest[:12]).items():
            low, high = bounds[bound]
            if surely_more(share, high + conf.drift, alpha) or surely_more(_rest(share), 1 - low + conf.drift, alpha):
                yield (
                    f"{_told(share)} of the scores of bundle {digest[:12]} are {bound:g} or less, where on the days "
                    f"of training it was {low:.1%} to {high:.1%}"
                )


def surely_more(seen: Share, limit: float, alpha: float) -> bool:
    """Whether a share surely lies above a limit: of one that does not, this is said at any look at most `alpha` often.

    The ratio of likelihoods is that of twice the limit, or of half-way to one, against the limit.
    """
    if limit >= 1 or not seen.whole:
        return False
    more = limit + min(limit, (1 - limit) / 2)
    ratio = seen.part * math.log(more / limit) + (seen.whole - seen.part) * math.log((1 - more) / (1 - limit))
    return ratio >= math.log(1 / alpha)


def _usual(digest: str) -> dict[float, tuple[float, float]]:
    """Return the least and the greatest share of scores at or below each counted bound, over the days of training.

    The reference counts scores between other bounds: the nearest one below bounds the least share, the one above the
    greatest, so that nothing is called unusual that might not be.
    """
    known = bundle.load(settings().store_url, digest).reference
    variable = next(each for each in known.variables if each.name == SCORE)
    least, greatest = _range(variable)
    edges, bounds = np.array(variable.bins.edges), [step / 20 for step in range(1, 21)]
    below, above = np.searchsorted(edges, bounds, side="right"), np.searchsorted(edges, bounds, side="left")
    return {
        bound: (float(least[low]), float(greatest[high])) for bound, low, high in zip(bounds, below, above, strict=True)
    }


def _range(variable: Variable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least share at or below each edge over the days, after 0, and the greatest, before 1."""
    counts = np.array(variable.counts, dtype=np.float64)[:, :-2]  # the last cells are of other and missing values
    counts = counts[counts.sum(axis=1) > 0]
    shares = counts.cumsum(axis=1)[:, :-1] / counts.sum(axis=1, keepdims=True)
    return np.append(0.0, shares.min(axis=0)), np.append(shares.max(axis=0), 1.0)


def _rest(share: Share) -> Share:
    return Share(share.whole - share.part, share.whole)


def _told(share: Share) -> str:
    return f"{share.part:,.0f} of {share.whole:,.0f} ({share.part / share.whole:.1%})"
