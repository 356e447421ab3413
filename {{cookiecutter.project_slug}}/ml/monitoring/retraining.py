"""When to train again, and on what: an alarm asks for it, not too soon after the last time, on the newest days."""

import json
from datetime import date, timedelta

from ml.contract import bundle
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.monitoring.monitor import VERDICT
from ml.progress import say
from ml.settings import settings
from ml.store import files


def asked(force: bool, polled: bool = False) -> tuple[date, date] | None:
    """Return the first and last day to train on; None where nothing asks for it, or too soon, which it says.

    Raises ContractError where nothing was ever monitored; whoever polls every day is only told.
    """
    try:
        verdict = json.loads(files.read(files.join(settings().reports_url, VERDICT)))
    except FileNotFoundError:
        if not polled:
            raise ContractError("monitor", "there is no verdict yet", "Run `ml monitor` first") from None
        say("retrain", "there is no verdict yet: `ml monitor` comes first")
        return None
    policy, until = framing().retraining, date.fromisoformat(verdict["until"])
    if not force:
        if verdict["status"] != "alarm":
            say("retrain", "the last verdict asks for nothing")
            return None
        champion = bundle.load(settings().store_url, verdict["bundle"])
        days = (until - date.fromisoformat(champion.manifest["test"]["days"][-1])).days
        if days < policy.pause_days:
            say("retrain", f"{days} days after the last one, retraining.pause_days says {policy.pause_days}")
            return None
    return until - timedelta(days=policy.window_days - 1), until
