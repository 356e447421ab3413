"""What the service counts, in Prometheus form; the only place that knows its client."""

from prometheus_client import Counter, Histogram

PREDICTIONS = Counter("ml_predictions_total", "Records scored.", ["bundle", "decision"])
SCORES = Histogram("ml_score", "Scores given.", ["bundle"], buckets=[step / 20 for step in range(1, 21)])
OUTCOMES = Counter("ml_outcomes_total", "Outcomes received.", ["outcome"])
REFUSED = Counter("ml_refused_requests_total", "Requests refused.", ["route", "status"])
MISSING = Counter("ml_missing_values_total", "Features served without a value.", ["feature"])
UNKNOWN = Counter("ml_unknown_categories_total", "Categories served that training never saw.", ["feature"])
LOST = Counter("ml_lost_events_total", "Predictions answered but not logged.")
