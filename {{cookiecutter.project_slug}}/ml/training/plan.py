"""Step 0, in a pipeline: name the window and the state of the lake, from which all that is computed follows."""

import hashlib
import json
from datetime import date, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ml.contract import clock
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.progress import say
from ml.store import files
from ml.training.ingest import publish


class Planned(NamedTuple):
    """The first and last day that training reads, and what names the lake's content."""

    since: date
    until: date
    data: str


def plan(lake: str, since: str, until: str, as_of: str) -> Planned:
    """Return the window that was asked for, or the newest matured one as of a moment, and the lake's state.

    Days and moments are ISO 8601. The state is the hash of the names and states of all of the lake's files: who reads
    days of it reads events of days before them, too.
    """
    publish(lake)
    window = matured(as_of) if as_of else (date.fromisoformat(since), date.fromisoformat(until))
    found = files.states(lake)
    data = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    say("plan", f"{window[0]} to {window[1]}, {len(found):,} files in {lake}, state {data[:12]}")
    return Planned(*window, data)


def matured(as_of: str) -> tuple[date, date]:
    """Return the window of a retraining: up to the newest day whose outcomes were all known at a moment.

    Raises ContractError for what is no moment with an offset from UTC.
    """
    time, days = framing().time, framing().retraining.window_days
    try:
        known = clock.parse(as_of) - timedelta(hours=time.label_delay_hours)
    except ValueError as error:
        raise ContractError("pipeline", f"as_of: {error}", "Give it as 2026-11-21T08:00:00Z") from error
    until = known.astimezone(ZoneInfo(time.timezone)).date() - timedelta(days=1)
    return until - timedelta(days=days - 1), until
