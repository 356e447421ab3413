"""What replicas have counted, read from what they tell Prometheus, and added up since a deployment."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, tuple[tuple[str, str], ...]]  # a sample's name and labels
Counts = dict[Key, float]


class Share(NamedTuple):
    """How many of how many."""

    part: float
    whole: float


def counts(page: str) -> Counts:
    """Return the samples of one replica's page; raises ValueError where it is none."""
    families = text_string_to_metric_families(page)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("ml_")
    }


def since(now: Mapping[str, Counts], first: Mapping[str, Counts]) -> Counts:
    """Return what all replicas have counted since a first look; one that was not there yet, or began anew, in whole."""
    total = Counts()
    for replica, found in now.items():
        before = first.get(replica, Counts())
        if any(found.get(key, 0) < times for key, times in before.items() if key[0].endswith("_count")):
            before = Counts()
        for key, value in found.items():
            total[key] = total.get(key, 0) + value - before.get(key, 0)
    return total


def of(found: Counts, name: str, **labels: str) -> Iterable[tuple[dict[str, str], float]]:
    """Yield the samples of a name that have these labels, each with all of its own."""
    for (named, pairs), value in found.items():
        if named == name and labels.items() <= dict(pairs).items():
            yield dict(pairs), value


def failed(found: Counts) -> Share:
    """Return how many answers failed: refused although nothing was wrong with them, or given for another model."""
    answered = sum(value for _, value in of(found, "ml_prediction_seconds_count"))
    refused = sum(value for told, value in of(found, "ml_refused_requests_total") if _blames_us(told["status"]))
    fallbacks = sum(value for _, value in of(found, "ml_fallbacks_total"))
    return Share(refused + fallbacks, answered + refused)


def slow(found: Counts, seconds: float) -> Share:
    """Return how many answers took longer than so many seconds, or than the next bound that is counted."""
    whole = sum(value for _, value in of(found, "ml_prediction_seconds_count"))
    bounds = {float(told["le"]): value for told, value in of(found, "ml_prediction_seconds_bucket")}
    quick = min((bound for bound in bounds if bound >= seconds), default=None)
    return Share(whole - bounds[quick] if quick is not None else 0.0, whole)


def scored(found: Counts, bundle: str) -> dict[float, Share]:
    """Return how many of a bundle's scores lie at or below each bound that is counted."""
    whole = sum(value for _, value in of(found, "ml_score_count", bundle=bundle))
    samples = of(found, "ml_score_bucket", bundle=bundle)
    return {float(told["le"]): Share(value, whole) for told, value in samples if told["le"] != "+Inf"}


def _blames_us(status: str) -> bool:
    return status == "429" or status.startswith("5")
