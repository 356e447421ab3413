"""What the service counts, in Prometheus form; the only place that knows its client."""

from typing import Any

import numpy as np
import prometheus_client
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge


class Histogram(prometheus_client.Histogram):
    """A histogram that takes many values at once: under load, one by one would cost more than the model does."""

    def observe_all(self, values: NDArray[Any]) -> None:
        """Observe values, [n]."""
        places, counts = np.unique(np.searchsorted(self._upper_bounds, values), return_counts=True)
        for place, count in zip(places.tolist(), counts.tolist(), strict=True):
            self._buckets[place].inc(count)
        self._sum.inc(float(values.sum()))


LATENCY = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]  # seconds

PREDICTIONS = Counter("ml_predictions_total", "Records scored.", ["bundle", "decision"])
SCORES = Histogram("ml_score", "Scores given.", ["bundle"], buckets=[step / 20 for step in range(1, 21)])
SECONDS = Histogram("ml_prediction_seconds", "From a request's body to its answer, a record.", buckets=LATENCY)
OUTCOMES = Counter("ml_outcomes_total", "Outcomes received.", ["sender", "outcome"])
REFUSED = Counter("ml_refused_requests_total", "Requests refused.", ["route", "status"])
BREACHES = Counter("ml_contract_breaches_total", "Values that break the record's contract.", ["field", "kind"])
BROKEN = Counter("ml_broken_records_total", "Records that break the contract; a list is refused for one of them.")
MISSING = Counter("ml_missing_values_total", "Features served without a value.", ["feature"])
UNKNOWN = Counter("ml_unknown_categories_total", "Categories served that training never saw.", ["feature"])
DEFAULTS = Counter("ml_default_features_total", "Windowed features served as their default.", ["feature"])
AGE = Histogram(
    "ml_feature_age_seconds",
    "Age of the newest event behind what was served, by feature group.",
    ["group"],
    buckets=[60, 300, 900, 3600, 4 * 3600, 24 * 3600],
)
ONLINE = Gauge("ml_online_store_up", "Whether the online store answered when last asked.", multiprocess_mode="min")
WRITTEN = Gauge("ml_event_log_up", "Whether the event log could be written last.", multiprocess_mode="min")
LOST = Counter("ml_lost_events_total", "Rows of the event log for which there was no room: the log cannot be written.")
PLAN = Gauge(
    "ml_plan_info",
    "1 for the plan at work, 0 for earlier ones: two at work for minutes are a rollout that hangs.",
    ["plan"],
    multiprocess_mode="max",
)
FALLBACKS = Counter("ml_fallbacks_total", "Records answered for a model that failed, by who did.", ["by"])
SHADOWS = Counter("ml_shadow_records_total", "Records given to shadows, by what became of them.", ["arm", "end"])
WITHOUT_ENTITY = Counter("ml_records_without_entity_total", "Records in an experiment that name no entity.")
