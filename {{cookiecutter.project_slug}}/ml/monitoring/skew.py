"""Training-serving skew: a sample of served requests goes through the offline path, and every feature is compared.

The record comes from the lake, by the key that the service logged; its windowed features from the lake's history, as of
the moment that the service logged. Whatever differs was served otherwise than a model would be trained on it.
"""

import json
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ml.contract import events, release
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.features import calendar
from ml.features.history import History
from ml.features.table import NAMES, columns_of_frame, features_of, inputs, keys_of
from ml.problem import source
from ml.progress import say, table, track
from ml.settings import settings
from ml.store import files

SEED = 0


class Differing(NamedTuple):
    """A feature that was served otherwise: on how many requests, and on which for example, with both values."""

    feature: str
    requests: int
    key: dict[str, Any]
    served: float | str | None
    offline: float | str | None


class Skew(NamedTuple):
    """What a comparison found: requests compared, those whose record the lake lacks, and the features that differ."""

    compared: int
    unmatched: int
    differing: list[Differing]


def skew(sample: int) -> Skew:
    """Compare a random sample of what this environment's champion served, print and file what differs.

    What was served while the online store was down is left out: the service has said so itself.
    """
    conf, champion = settings(), release.read().champion
    served = [
        event
        for event in events.read(files.local(conf.events_url, "events"))
        if event["kind"] == "prediction" and event["bundle"] == champion and not event.get("degraded")
    ]
    if not served:
        raise ContractError("skew", f"{champion[:12]} has served nothing yet", "Serve or `ml replay` first")
    chosen = np.random.default_rng(SEED).permutation(len(served))[:sample]
    found = compare(conf.lake_url, [served[place] for place in sorted(chosen)])
    if not found.compared:
        broken = f"none of {len(chosen):,} served requests has a record in {conf.lake_url} yet"
        raise ContractError("skew", broken, "Publish their days and events first, or see KEY in ml/problem/schema.py")
    page = files.join(conf.reports_url, "skew.json")
    told = {**found._asdict(), "differing": [each._asdict() for each in found.differing]}
    files.write(page, json.dumps(told, indent=1).encode())
    if found.differing:
        head = ["feature", "requests", "such as", "served", "offline"]
        rows = [
            (each.feature, f"{each.requests:,}", ", ".join(map(str, each.key.values())), *map(str, each[3:]))
            for each in found.differing
        ]
        table("Served otherwise than trained", head, rows)
    say(
        "skew",
        f"{len(found.differing)} of {len(NAMES)} features differ over {found.compared:,} served requests"
        + (f"; {found.unmatched:,} more have no record in the lake" if found.unmatched else "")
        + f"; written to {page}",
    )
    return found


def compare(lake: str, served: list[dict[str, Any]]) -> Skew:
    """Compare logged predictions with the offline path, as far as the lake's history goes."""
    history, whole = History(lake), pd.DataFrame(served)
    whole["time"] = pd.to_datetime(whole["time"], utc=True).dt.tz_localize(None).astype("datetime64[s]")
    whole = whole[whole["time"].to_numpy().astype(np.int64) < history.end]
    days = calendar.local(whole["time"].to_numpy(), framing().time.timezone).astype("datetime64[D]")
    whole["day"] = days.astype(object)
    weeks = [week for _, week in whole.groupby(days.astype(np.int64) // 7)]
    differing, compared = dict[str, Differing](), 0
    for requests in track(weeks, "comparing weeks", len(weeks)):
        again = _offline(lake, history, requests)
        compared += len(again)
        for place, features in again:
            told = requests.iloc[place]
            for name, offline in features.items():
                if (one := told["features"].get(name)) != offline:
                    before = differing.get(name, Differing(name, 0, told["key"], one, offline))
                    differing[name] = before._replace(requests=before.requests + 1)
    return Skew(compared, len(served) - compared, sorted(differing.values(), key=lambda each: -each.requests))


Features = dict[str, float | str | None]


def _offline(lake: str, history: History, requests: pd.DataFrame) -> list[tuple[int, Features]]:
    """Return each request's place and features by the offline path; requests without a record are left out."""
    near = {day + timedelta(days=ahead) for day in requests["day"] for ahead in (-1, 0, 1)}  # one may come too late
    there = [day for day in source.days(lake) if day in near]
    if not there:
        return []
    records = pd.concat([source.read(lake, day) for day in there], ignore_index=True)
    rows = {json.dumps(key): row for row, key in enumerate(keys_of(columns_of_frame(records)))}
    keys = [json.dumps(key) for key in requests["key"]]
    places = [place for place, key in enumerate(keys) if key in rows]
    columns = columns_of_frame(records.iloc[[rows[keys[place]] for place in places]])
    at = requests["time"].to_numpy()[places].astype("datetime64[s]").astype(np.int64)
    return list(zip(places, features_of(inputs(columns | history.join(columns, at))), strict=True))
