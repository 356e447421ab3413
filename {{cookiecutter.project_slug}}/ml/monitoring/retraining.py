"""When to train again, and on what: an alarm asks for it, and it uses the newest matured days."""

import json
from datetime import date

from ml.errors import ContractError
from ml.monitoring.monitor import VERDICT
from ml.settings import settings
from ml.store import files


def asked(force: bool) -> tuple[date, date] | None:
    """Return the first and last day to train on, as long a window as before; None where nothing asks for it."""
    try:
        verdict = json.loads(files.read(files.join(settings().reports_url, VERDICT)))
    except FileNotFoundError:
        raise ContractError("monitor", "there is no verdict yet", "Run `ml monitor` first") from None
    if verdict["status"] != "alarm" and not force:
        return None
    until, data = date.fromisoformat(verdict["until"]), settings().data
    return until - (data.until - data.since), until
