"""A release is taken back when it is surely worse than it may be, and hardly ever when it is not."""

from collections.abc import Mapping

import numpy as np
import prometheus_client
import pytest
from conftest import configured

from ml.contract import bundle as bundles
from ml.delivery import metrics
from ml.delivery.bake import Found, bake, surely_more
from ml.delivery.metrics import Share
from ml.features.table import SCORE
from ml.serving import counters

EDGES = [step / 20 for step in range(1, 21)]


def page(answers: float = 0, slow: float = 0, bundle: str = "", scores: Mapping[float, float] | None = None) -> str:
    """Return what a replica tells Prometheus: so many answers, of which some took a second, and scores by bound."""
    lines = ["# TYPE ml_prediction_seconds histogram", f'ml_prediction_seconds_bucket{{le="0.05"}} {answers - slow}']
    lines += [f'ml_prediction_seconds_bucket{{le="2.5"}} {answers}', f"ml_prediction_seconds_count {answers}"]
    for bound, times in (scores or {}).items():
        lines.append(f'ml_score_bucket{{bundle="{bundle[:12]}",le="{bound}"}} {times}')
    lines.append(f'ml_score_count{{bundle="{bundle[:12]}"}} {max((scores or {0: 0}).values())}')
    return "\n".join([*lines, ""])


def refused(status: str, times: float) -> str:
    return f'ml_refused_requests_total{{route="/predict",status="{status}"}} {times}\n'


class Told:
    """A target whose replicas tell these pages, one after the other; the last again and again."""

    def __init__(self, *pages: dict[str, str | None]) -> None:
        self._pages, self.looks = list(pages), 0

    def metrics(self) -> dict[str, str | None]:
        self.looks += 1
        return self._pages.pop(0) if len(self._pages) > 1 else self._pages[0]


def watched(*pages: dict[str, str | None], answering: tuple[str, ...] = (), seconds: float = 0.1) -> str | None:
    return found(*pages, answering=answering, seconds=seconds).broken


def found(*pages: dict[str, str | None], answering: tuple[str, ...] = (), seconds: float = 0.1) -> Found:
    with configured(ML_DEPLOY_BAKE_MINUTES=seconds / 60):
        return bake(Told(*pages), answering)  # type: ignore[arg-type]


def test_looking_all_the_time_at_what_is_as_bad_as_it_may_be_errs_seldom() -> None:
    limit, alpha = 0.05, 0.1
    seen = (np.random.default_rng(0).random((400, 1500)) < limit).cumsum(axis=1)
    looks = range(0, seen.shape[1], 10)
    erred = [any(surely_more(Share(row[look], look + 1), limit, alpha) for look in looks) for row in seen]
    assert 0 < np.mean(erred) <= alpha


@pytest.mark.parametrize(("rate", "needed"), [(1.0, 20), (0.1, 250), (0.03, 1500)])
def test_what_is_clearly_worse_is_found_soon(rate: float, needed: int) -> None:
    seen = np.random.default_rng(1).random((200, needed)) < rate
    found = [surely_more(Share(row.sum(), needed), 0.01, 0.001) for row in seen]
    assert np.mean(found) > 0.9


def test_answers_that_fail_or_come_late_are_a_breach_and_what_callers_do_wrong_is_none() -> None:
    first = {"a": page(100)}
    fine = {"a": page(300) + refused("422", 200)}
    assert watched(first, fine) is None
    for told, word in ((refused("500", 50), "failed"), (refused("429", 50), "failed")):
        said = watched(first, {"a": page(300) + told})
        assert said
        assert word in said
    fallbacks = 'ml_fallbacks_total{by="champion"} 50\n'
    assert "50 of 200 (25.0%) of the answers failed" in str(watched(first, {"a": page(300) + fallbacks}))
    slow = str(watched(first, {"a": page(300, slow=30)}))
    assert "30 of 200 (15.0%) of the answers took longer than 50 ms" in slow
    with configured(ML_DEPLOY_LATENCY_P99_MS=2500):
        assert watched(first, {"a": page(300, slow=30)}) is None


def test_only_what_was_counted_since_the_deployment_counts() -> None:
    bad = {"a": page(1000) + refused("500", 500)}
    assert watched(bad, bad) is None
    began_anew = {"a": page(200) + refused("500", 100)}
    assert "100 of 300" in str(watched(bad, began_anew))
    later = page(200) + refused("500", 100)  # of a replica that was not there at the first look
    assert "100 of 300" in str(watched({"a": page(7)}, {"a": page(7), "b": later}))


def test_how_many_answers_were_watched_is_said_and_that_none_was() -> None:
    assert found({"a": page(100)}, {"a": page(1300)}).said == "1,200 answers were watched, and nothing spoke against it"
    assert "nobody asked" in found({"a": page(100)}).said


def test_a_replica_that_is_silent_twice_is_a_breach_and_once_is_none() -> None:
    assert "b tells nothing" in str(watched({"a": page(), "b": page()}, {"a": page(), "b": None}))
    assert watched({"a": page(), "b": page()}, {"a": page(), "b": None}, {"a": page()}) is None
    assert watched({}) == "no replica is there"


def test_scores_that_no_day_of_training_had_are_a_breach(
    bundle: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, digest = bundle
    monkeypatch.setenv("ML_STORE_URL", store)
    known = next(each for each in bundles.load(*bundle).reference.variables if each.name == SCORE)
    counts = np.array(known.counts, dtype=float)[:, :-2].sum(axis=0)
    inner = np.array([0.0, *known.bins.edges, 1.0])
    shares = np.append(0, counts.cumsum() / counts.sum())
    usual = {edge: 1000 * float(np.interp(edge, inner, shares)) for edge in EDGES}
    first = {"a": page(0, bundle=digest, scores=dict.fromkeys(EDGES, 0.0))}
    assert watched(first, {"a": page(1000, bundle=digest, scores=usual)}, answering=(digest,)) is None
    for edge in (0.05, 0.9):  # all scores are at or below it, and above the one before
        same = {each: 1000.0 * (each >= edge) for each in EDGES}
        said = str(watched(first, {"a": page(1000, bundle=digest, scores=same)}, answering=(digest,)))
        assert f"of the scores of bundle {digest[:12]} are" in said
    same = {each: 1000.0 * (each >= 0.9) for each in EDGES}
    with configured(ML_DEPLOY_DRIFT=0.99):
        assert watched(first, {"a": page(1000, bundle=digest, scores=same)}, answering=(digest,)) is None


def test_a_page_of_the_service_is_read_as_it_is() -> None:
    counters.SECONDS.observe_all(np.array([0.01, 0.2]))
    counters.REFUSED.labels("/predict", "500").inc()
    found = metrics.counts(prometheus_client.generate_latest().decode())
    assert metrics.slow(found, 0.05).part >= 1
    assert metrics.failed(found).part >= 1
