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
from ml.eventlog.read import by_hour, frame
from ml.features import calendar
from ml.features.definition import Array
from ml.features.history import History
from ml.features.table import NAMES, columns_of_frame, inputs
from ml.problem import source
from ml.progress import say, table, track
from ml.settings import settings
from ml.store import files

SEED, SAMPLE = 0, 500


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

    What was served while the online store was down is left out, for the service has said so itself; and what a batch
    run had scored before.
    """
    conf, champion = settings(), release.read().champion
    served = _drawn(champion, sample)
    if not len(served):
        raise ContractError("skew", f"{champion[:12]} has served nothing yet", "Serve or `ml replay` first")
    found = compare(conf.lake_url, served)
    if not found.compared:
        broken = f"none of {len(served):,} served requests has a record in {conf.lake_url} yet"
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


def _drawn(champion: str, sample: int) -> pd.DataFrame:
    """Draw from all that a champion served, as it was logged, however long the log is: the lowest of random numbers."""
    rng, drawn = np.random.default_rng(SEED), list[pd.DataFrame]()
    lowest = np.zeros(0)
    for told in by_hour(events.PREDICTIONS):
        rows = frame(events.PREDICTIONS, [told])
        own = rows[(rows.bundle == champion) & ~rows.degraded & ~rows.stored]
        numbers = np.concatenate([lowest, rng.random(len(own))])
        chosen = np.sort(np.argsort(numbers, kind="stable")[:sample])
        drawn, lowest = [pd.concat([*drawn, own], ignore_index=True).iloc[chosen]], numbers[chosen]
    return drawn[0] if drawn else pd.DataFrame()


def sampled() -> None:
    """Compare a small sample, or say in one line why nothing could be: records may come days after they were served."""
    try:
        skew(SAMPLE)
    except ContractError as error:
        say("skew", f"not compared: {error}")


def compare(lake: str, served: pd.DataFrame) -> Skew:
    """Compare logged predictions with the offline path, as far as the lake's history goes."""
    history = History(lake)
    times = served.time.dt.tz_localize(None).to_numpy("datetime64[s]")
    days = calendar.local(times, framing().time.timezone).astype("datetime64[D]")
    whole = served.assign(at=times.astype(np.int64), day=days.astype(object), week=days.astype(np.int64) // 7)
    weeks = [week for _, week in whole[whole["at"] < history.end].groupby("week")]
    differing, compared = dict[str, Differing](), 0
    for requests in track(weeks, "comparing weeks", len(weeks)):
        told, offline = _offline(lake, history, requests)
        compared += len(told)
        for column, values in offline.items():
            one = told[column].to_numpy(values.dtype) if column in told else np.full(len(told), None, dtype=object)
            apart = (one != values) & ~((one != one) & (values != values))  # NaN is the same as NaN
            if apart.any():
                row, name = int(np.flatnonzero(apart)[0]), column.removeprefix(events.FEATURES)
                first = Differing(name, 0, _key(told.iloc[row]), _plain(one[row]), _plain(values[row]))
                before = differing.get(name, first)
                differing[name] = before._replace(requests=before.requests + int(apart.sum()))
    return Skew(compared, len(served) - compared, sorted(differing.values(), key=lambda each: -each.requests))


def _offline(lake: str, history: History, requests: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Array]]:
    """Return the requests whose record the lake has, and their features by the offline path, as they are logged."""
    near = {day + timedelta(days=ahead) for day in requests["day"] for ahead in (-1, 0, 1)}  # one may come too late
    there = [source.read(lake, day) for day in source.days(lake) if day in near]
    if not there:
        return requests[:0], {}
    records = pd.concat(there, ignore_index=True)
    keys = pd.DataFrame(events.key_columns(columns_of_frame(records)))
    names = list(keys)
    for name in keys.select_dtypes("datetime"):
        keys[name] = keys[name].dt.tz_localize("UTC")
    keys = keys.assign(row=np.arange(len(keys))).drop_duplicates(names)
    found = requests.merge(keys, on=names, how="inner")
    columns = columns_of_frame(records.iloc[found["row"].to_numpy()])
    joined = history.join(columns, found["at"].to_numpy())
    return found, events.feature_columns(inputs(columns | joined))


def _key(request: pd.Series) -> dict[str, Any]:
    return {
        name.removeprefix(events.KEY): _plain(request[name]) for name in request.index if name.startswith(events.KEY)
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: None for a number that is missing, a time as ISO 8601."""
    if value is None or value != value:
        return None
    return value.isoformat() if isinstance(value, pd.Timestamp) else getattr(value, "item", lambda: value)()
