"""Plays the world outside: what happens, records when they are due, and their outcomes once known.

Simulated time passes in steps of half an hour, which ends with the last request that is due in it: then the events that
became available are folded into the online store, and the service gets the requests, all as of that moment. Who sends
them one by one folds before each.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from typing import Any

import httpx
import numpy as np
import pandas as pd

from ml.contract import secrets
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.features.definition import Columns, Event
from ml.features.materialize import Feed
from ml.features.online import Online
from ml.features.table import columns_of_frame, json_of_frame
from ml.online.store import OnlineStore, connect, shown
from ml.problem import schema, source
from ml.progress import say, track
from ml.settings import settings

STEP = np.timedelta64(30, "m")
TIME = "X-Simulated-Time"


class World:
    """What becomes of the lake's history on its way to the service: nothing; a drill's world changes it and watches."""

    def records(self, day: date, records: pd.DataFrame) -> pd.DataFrame:
        """Return a day's records, with their outcomes, as they are sent."""
        return records

    def events(self, kind: type[Event], events: Columns) -> Columns:
        """Return events of a kind, in the order in which they became `available`, as the online store gets them."""
        return events

    def watch(self, moment: np.datetime64, sent: int, page: Callable[[], str]) -> None:
        """Hear that it is a moment later, how many records were sent, and how to get the service's metrics."""


def replay(
    lake: str, since: date, until: date, url: str, outcomes_url: str, single: bool = False, world: World | None = None
) -> int:
    """Send the records of the days from `since` to `until` to `url`, their outcomes to `outcomes_url`, with our token.

    Returns how many records; raises ContractError when it cannot.
    """
    world = world or World()
    days = [day for day in source.days(lake) if since <= day <= until]
    if not days:
        raise ContractError("replay", f"{lake} has no partition from {since} to {until}", "Choose other days")
    records = pd.concat([world.records(day, source.read(lake, day)) for day in days], ignore_index=True)
    columns = columns_of_frame(records)
    due, known = schema.predicted_at(columns), schema.known_at(columns)
    sent = np.array(json_of_frame(records), dtype=object)
    outcomes = records[framing().task.positive].to_numpy() == 1
    ids = np.empty(len(sent), dtype=object)
    steps = np.arange(due.min().astype("datetime64[h]").astype("datetime64[m]"), known.max() + STEP, STEP)
    bearer = {"Authorization": f"Bearer {secrets.token()}"}
    with (
        httpx.Client(base_url=url, timeout=60, headers=secrets.as_caller()) as client,
        httpx.Client(base_url=outcomes_url, timeout=60, headers=bearer) as observer,
        closing(connect(settings().online_url)) as store,
    ):
        _post(observer, "/outcomes", [], due.min())  # nothing is changed before it is known that somebody answers
        if _ahead(store, columns, due.min()):
            broken = f"{shown(settings().online_url)} knows what happened later than {due.min()}"
            raise ContractError("replay", broken, "Stop the service and remove it, or replay later days")
        feed = Feed(lake, store, days[0], world.events)
        done = 0
        for step in track(steps, "replaying half hours", total=len(steps)):
            now = np.flatnonzero((due >= step) & (due < step + STEP))
            now = now[np.argsort(due[now], kind="stable")]
            for rows in np.split(now, len(now)) if single and len(now) else [now]:
                if len(rows):
                    moment = due[rows].max()
                    feed.up_to(int(moment.astype("datetime64[s]").astype(np.int64)))
                    answers = _post(client, "/predict", sent[rows].tolist(), moment)
                    ids[rows] = [answer["request_id"] for answer in answers]
                    done += len(rows)
            rows = np.flatnonzero((known >= step) & (known < step + STEP))
            if len(rows):
                observed = [{"request_id": ids[row], "outcome": bool(outcomes[row])} for row in rows]
                _post(observer, "/outcomes", observed, known[rows].max())
            world.watch(step + STEP, done, lambda: _metrics(client))
    say("replay", f"sent {len(sent):,} records of {days[0]} to {days[-1]} to {url}, and their outcomes")
    return len(sent)


def offer(records: Sequence[Any], moment: np.datetime64, url: str) -> tuple[int, str]:
    """Send records as they are at a simulated moment; return the status, be it a refusal, and the service's metrics."""
    with httpx.Client(base_url=url, timeout=60, headers=secrets.as_caller()) as client:
        try:
            status = client.post("/predict", json=list(records), headers=_at(moment)).status_code
        except httpx.HTTPError as error:
            raise _nobody(client, error) from error
        return status, _metrics(client)


def _metrics(client: httpx.Client) -> str:
    return client.get("/metrics").text


def _ahead(store: OnlineStore, records: Columns, moment: np.datetime64) -> bool:
    """Say whether the store knows of an entity of the records what happened after a moment."""
    seconds = int(moment.astype("datetime64[s]").astype(np.int64))
    known = Online(store).known(records, datetime.fromtimestamp(seconds, UTC))
    return any((as_of > seconds).any() for as_of in known.as_of.values())


def _post(client: httpx.Client, route: str, objects: list[Any], time: np.datetime64) -> Any:
    """Send objects at a simulated moment, one alone as itself; raises ContractError when they are not taken."""
    body: Any = objects[0] if len(objects) == 1 else objects
    try:
        answer = client.post(route, json=body, headers=_at(time))
    except httpx.HTTPError as error:
        raise _nobody(client, error) from error
    if answer.status_code != 200:
        raise ContractError(
            "replay", f"{route} answered {answer.status_code}: {answer.text[:300]}", "See the service's log"
        )
    found = answer.json()
    return found if isinstance(found, list) or route != "/predict" else [found]


def _at(moment: np.datetime64) -> dict[str, str]:
    return {TIME: f"{np.datetime_as_string(moment, unit='s')}+00:00"}


def _nobody(client: httpx.Client, error: httpx.HTTPError) -> ContractError:
    return ContractError("replay", f"no service answers at {client.base_url}: {error}", "Run `ml serve` first")
