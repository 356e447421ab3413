"""Plays the world outside: sends later real records to the running service when they were due, and outcomes once known.

Simulated time passes in steps of an hour; each request carries its own time, which a service with a simulated
clock takes for now.
"""

from datetime import date
from typing import Any

import httpx
import numpy as np
import pandas as pd

from ml.contract.framing import framing
from ml.errors import ContractError
from ml.features.table import columns_of_frame, json_of_frame
from ml.problem import schema, source
from ml.progress import say, track

HOUR = np.timedelta64(1, "h")
TIME = "X-Simulated-Time"


def replay(lake: str, since: date, until: date, url: str, single: bool = False) -> int:
    """Send the records of the days from `since` to `until` and return how many; raises ContractError when it cannot."""
    days = [day for day in source.days(lake) if since <= day <= until]
    if not days:
        raise ContractError("replay", f"{lake} has no partition from {since} to {until}", "Choose other days")
    records = pd.concat([source.read(lake, day) for day in days], ignore_index=True)
    columns = columns_of_frame(records)
    due, known = schema.predicted_at(columns), schema.known_at(columns)
    sent = np.array(json_of_frame(records), dtype=object)
    outcomes = records[framing().task.positive].to_numpy() == 1
    ids = np.empty(len(sent), dtype=object)
    hours = np.arange(due.min().astype("datetime64[h]"), known.max().astype("datetime64[h]") + HOUR)
    with httpx.Client(base_url=url, timeout=60) as client:
        for hour in track(hours, "replaying hours", total=len(hours)):
            now = np.flatnonzero((due >= hour) & (due < hour + HOUR))
            for rows in np.split(now, len(now)) if single and len(now) else [now]:
                if len(rows):
                    ids[rows] = [
                        answer["request_id"]
                        for answer in _post(client, "/predict", sent[rows].tolist(), due[rows].max())
                    ]
            rows = np.flatnonzero((known >= hour) & (known < hour + HOUR))
            if len(rows):
                observed = [{"request_id": ids[row], "outcome": bool(outcomes[row])} for row in rows]
                _post(client, "/outcomes", observed, known[rows].max())
    say("replay", f"sent {len(sent):,} records of {days[0]} to {days[-1]} to {url}, and their outcomes")
    return len(sent)


def _post(client: httpx.Client, route: str, objects: list[Any], time: np.datetime64) -> Any:
    """Send objects at a simulated moment, one alone as itself; raises ContractError when they are not taken."""
    body: Any = objects[0] if len(objects) == 1 else objects
    try:
        answer = client.post(route, json=body, headers={TIME: f"{np.datetime_as_string(time, unit='s')}+00:00"})
    except httpx.HTTPError as error:
        raise ContractError(
            "replay", f"no service answers at {client.base_url}: {error}", "Run `ml serve` first"
        ) from error
    if answer.status_code != 200:
        raise ContractError(
            "replay", f"{route} answered {answer.status_code}: {answer.text[:300]}", "See the service's log"
        )
    found = answer.json()
    return found if isinstance(found, list) or route != "/predict" else [found]
