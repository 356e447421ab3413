"""The names of metrics as people say them."""

WORDS = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "brier": "Brier score",
    "f1": "F1",
    "acted": "share acted on",
    "cost": "cost per thousand",
    "cost_without_model": "cost per thousand without a model",
    "ece": "expected calibration error",
    "slope": "calibration slope",
    "intercept": "calibration intercept",
    "ratio": "observed / predicted",
}


def words(metric: str) -> str:
    """Return a metric's name in words."""
    return WORDS.get(metric, metric.replace("_", " "))


def percent(share: float | None) -> str:
    """Return a share as reports show it."""
    return "none" if share is None else f"{100 * share:.1f} %"


def listed(names: list[str]) -> str:
    """Return names as a sentence lists them: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
