"""What the service counts, in Prometheus form; the only place that knows its client."""

from prometheus_client import Counter, Gauge, Histogram

PREDICTIONS = Counter("ml_predictions_total", "Records scored.", ["bundle", "decision"])
SCORES = Histogram("ml_score", "Scores given.", ["bundle"], buckets=[step / 20 for step in range(1, 21)])
OUTCOMES = Counter("ml_outcomes_total", "Outcomes received.", ["outcome"])
REFUSED = Counter("ml_refused_requests_total", "Requests refused.", ["route", "status"])
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
LOST = Counter("ml_lost_events_total", "Predictions answered but not logged.")
