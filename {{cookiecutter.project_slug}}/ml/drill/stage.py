"""Plays a fault: a service of its own in simulated time, calm days, the onset, and what comes after."""

import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from ml.contract.framing import framing
from ml.delivery.metrics import counts
from ml.drill.door import DAY, HOUR, WEEK, Door, predictions
from ml.drill.faults import Fault
from ml.errors import ContractError
from ml.features.definition import Columns, Event
from ml.features.table import columns_of_frame, json_of_frame
from ml.problem import schema, source
from ml.replay import STEP, World, offer, replay
from ml.serving import server
from ml.settings import settings

SEED = 0
PATIENCE = 10.0  # seconds in which a service has counted what it answered
PAUSE = 0.05


def midnight(day: date) -> np.datetime64:
    """Return when a local day begins, UTC."""
    begins = pd.Timestamp(day, tz=framing().time.timezone)
    return np.datetime64(begins.tz_convert("UTC").tz_localize(None), "s")


class Stage(World):
    """The world of a drill: as the lake tells it up to the day of the onset, from then on with the fault."""

    def __init__(self, fault: Fault, onset: date) -> None:
        self._fault, self._day, self._onset = fault, onset, midnight(onset)
        self._next: np.datetime64 = np.datetime64(0, "s")
        self.door = Door()

    def records(self, day: date, records: pd.DataFrame) -> pd.DataFrame:
        """Return a day's records, with their outcomes, as they are sent."""
        if day < self._day or not self._fault.records:
            return records
        return self._fault.records(records, np.random.default_rng([SEED, day.toordinal()]))

    def events(self, kind: type[Event], events: Columns) -> Columns:
        """Return events of a kind, in the order in which they became `available`, as the online store gets them."""
        if not self._fault.events:
            return events
        before = events["available"] < self._onset.astype(np.int64)
        told = self._fault.events(kind, {name: values[~before] for name, values in events.items()})
        return {name: np.concatenate([values[before], told[name]]) for name, values in events.items()}

    def watch(self, moment: np.datetime64, sent: int, page: Callable[[], str]) -> None:
        """Look at the door every hour of the first day of the fault, and of that a week before; else once a day."""
        if moment >= self._next:
            self.door.look(moment, _counted(page, sent))
            closely = [begin for begin in (self._onset - WEEK, self._onset) if moment < begin + DAY]
            first = min(closely, default=moment + DAY)
            self._next = min(moment + DAY, first) if moment < first else moment + HOUR


def _counted(page: Callable[[], str], sent: int) -> str:
    """Return the page of metrics once all that was sent is counted, which is a moment after the answers."""
    deadline = time.monotonic() + PATIENCE
    while predictions(counts(found := page())) < sent:
        if time.monotonic() > deadline:
            raise ContractError("drill", f"the service has not counted {sent:,} answers", "See the service's log")
        time.sleep(PAUSE)
    return found


def play(fault: Fault, since: date, onset: date, until: date, log: Path) -> tuple[Door, np.datetime64]:
    """Let the days from `since` to `until` pass, with the fault from the onset on.

    Returns what was seen at the door, and when the first record of the fault was due. Refused records have no outcome,
    so of those only the first day is sent.
    """
    conf = settings()
    stage = Stage(fault, onset)
    records = source.read(conf.lake_url, onset)
    due = schema.predicted_at(columns_of_frame(records))
    with server.running(conf.serve.host, server.free_port(), "simulated", log) as service:
        if not fault.sent:
            replay(conf.lake_url, since, until, *service, world=stage)
            return stage.door, due.min()
        replay(conf.lake_url, since, onset - timedelta(days=1), *service, world=stage)
        sent = [fault.sent(record) for record in json_of_frame(records)]
        for step in np.arange(due.min(), due.max() + STEP, STEP):
            rows = np.flatnonzero((due >= step) & (due < step + STEP))
            if len(rows) and not stage.door.raised:
                _, page = offer([sent[row] for row in rows], due[rows].max(), service.url)
                stage.door.look(step + STEP, page)
    return stage.door, due.min()
