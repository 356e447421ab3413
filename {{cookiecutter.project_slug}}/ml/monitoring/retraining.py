"""Asks the policy whether to train again, remembers what it acts on, and says and files every answer."""

import json
from datetime import date, datetime
from typing import Any

from ml.contract import bundle, labels, release
from ml.contract.clock import Clock
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.monitoring.attempts import Acted, Past, Place, past
from ml.monitoring.monitor import VERDICT
from ml.monitoring.policy import Decision, Evidence, decide, force
from ml.progress import say
from ml.settings import settings
from ml.store import files

FILE = "retraining.json"  # an answer; of the newest the exporter makes a metric


def ask(forced: bool, on: Place) -> Decision:
    """Return what to do after the last verdict, having remembered it if it acts; nothing is begun before.

    Raises ContractError where nothing was ever monitored; whoever polls, as a workflow does every day, is only told.
    """
    now = Clock("wall").now()
    before = past(now)
    verdict = _verdict()
    if verdict is None:
        if on != "github":
            raise ContractError("monitor", "there is no verdict yet", "Run `ml monitor` first")
        decision = Decision("wait", ["there is no verdict yet: `ml monitor` comes first"])
    else:
        policy = framing().retraining
        decision = force(_day(verdict), policy) if forced else decide(evidence(verdict), before.acts, policy)
        if not _remembered(decision, verdict, before, forced, now, on):
            say("retrain", "wait: another process has acted on this verdict just now")
            return Decision("wait", [])
    _file(decision, verdict, now)
    say("retrain", f"{decision.decision}: {'; '.join(decision.reasons)}")
    return decision


def evidence(verdict: dict[str, Any]) -> Evidence:
    """Return what the monitor's verdict says, and what its bundle and the labels add; raises ContractError."""
    try:
        alarms = [name for name, signal in verdict["signals"].items() if signal["alarms"]]
        day, drifted, worse = _day(verdict), verdict["drifted"], bool(verdict["estimated"]["worse"])
    except KeyError as error:
        broken = f"the last verdict has no {error.args[0]}, so it is of another version"
        raise ContractError("monitor", broken, "Run `ml monitor` again") from error
    trained_until = bundle.trained_until(bundle.manifest(settings().store_url, verdict["bundle"]))
    new_labels = labels.known(settings().labels_url, trained_until, day)
    serving = release.champion() in (None, verdict["bundle"])
    return Evidence(day, alarms, drifted, worse, trained_until, new_labels, serving)


def _remembered(
    decision: Decision, verdict: dict[str, Any], before: Past, forced: bool, now: datetime, on: Place
) -> bool:
    """Remember a decision that acts; a stop acts once. False where another was quicker."""
    stopped = bool(before.acts) and before.acts[-1].decision == "stop"
    if decision.decision == "wait" or (decision.decision == "stop" and stopped):
        return True
    since, until = decision.window or (None, None)
    told = {"decision": decision.decision, "reasons": decision.reasons, "forced": forced, "on": on, "at": now}
    about = {"champion": verdict["bundle"], "day": _day(verdict), "since": since, "until": until}
    return before.add(Acted.model_validate(told | about))


def _file(decision: Decision, verdict: dict[str, Any] | None, now: datetime) -> None:
    told = {
        "decision": decision.decision,
        "reasons": decision.reasons,
        "rejections": decision.rejections,
        "window": [str(day) for day in decision.window or ()],
        "champion": verdict and verdict["bundle"],
        "day": verdict and verdict["until"],
        "at": now.isoformat(),
    }
    reports = settings().reports_url
    homes = [reports, files.join(reports, verdict["until"])] if verdict else [reports]
    for home in homes:  # the latest, and beside the verdict that it is of
        files.write(files.join(home, FILE), json.dumps(told, indent=1).encode())


def _verdict() -> dict[str, Any] | None:
    try:
        return dict(json.loads(files.read(files.join(settings().reports_url, VERDICT))))
    except FileNotFoundError:
        return None


def _day(verdict: dict[str, Any]) -> date:
    return date.fromisoformat(verdict["until"])
