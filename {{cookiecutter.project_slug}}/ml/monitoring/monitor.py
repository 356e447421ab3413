"""One look at what was served: signal, drift and performance over the newest matured days, as verdict and report."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.contract import bundle, release
from ml.contract.bundle import Bundle
from ml.contract.profile import Profile
from ml.errors import ContractError
from ml.monitoring import drift
from ml.monitoring.drift import Drift
from ml.monitoring.observations import Observations, observe
from ml.monitoring.signal import Signal, signal
from ml.progress import say
from ml.settings import settings
from ml.statistics.metrics import Estimate, estimates
from ml.store import files

LATEST = "verdict.json"
ENOUGH = 7  # matured days below which there is no verdict


@dataclass(frozen=True)
class Look:
    """All that one look found, for verdict, report and plots."""

    bundle: Bundle
    served: Observations
    window: Observations
    signal: Signal
    drifts: list[Drift]
    performance: dict[str, Estimate]
    profiles: tuple[Profile, Profile]

    @property
    def days(self) -> NDArray[Any]:
        """The days of the window, in order."""
        return np.unique(self.window.days)


def monitor(until: date | None, report: Path | None = None) -> dict[str, Any]:
    """Judge the newest matured window up to `until`; write report and verdict, and return the verdict."""
    look_at = look(until)
    found = verdict(look_at)
    reports = settings().reports_url
    home = files.join(reports, found["until"])
    page = str(report) if report else files.join(home, "monitor.html")
    from ml.monitoring.report import render

    files.write(page, render(look_at, found).encode())
    found["report"] = page
    content = json.dumps(found, indent=1).encode()
    files.write(files.join(home, LATEST), content)
    files.write(files.join(reports, LATEST), content)
    moved = f"{len(found['drifted'])} of {len(look_at.drifts)} variables drifted"
    say(
        "monitor",
        f"{found['since']} to {found['until']}: {found['status']}, "
        f"observed minus predicted {found['signal']['value']:+.3f} "
        f"(limits {found['signal']['low']:+.3f}, {found['signal']['high']:+.3f}); {moved}; report in {page}",
    )
    return found


def look(until: date | None) -> Look:
    """Gather what the verdict needs; raises ContractError where too little was served to say anything."""
    store = settings().store_url
    champion = bundle.load(store, release.read().champion)
    served = observe(files.local(settings().events_url, "events"), champion.digest)
    window = served.window(until, settings().monitor.window_days)
    matured = window.where(window.matured)
    days = len(np.unique(matured.days))
    if days < ENOUGH:
        raise ContractError(
            "monitor", f"{days} days have outcomes, a verdict needs {ENOUGH}", "Serve or `ml replay` more"
        )
    trained = Profile.load(files.read(files.join(bundle.folder(store, champion.digest), "reference.whylogs")))
    profiled = drift.profile(window)
    return Look(
        champion,
        served,
        window,
        signal(champion.reference, matured.outcomes, matured.scores, days),
        list(drift.drifts(champion.reference, profiled, days)),
        estimates(matured.outcomes, matured.scores, matured.days),
        (trained, profiled),
    )


def verdict(found: Look) -> dict[str, Any]:
    """Return the verdict: an alarm comes from outcomes alone, drift of inputs is a notice."""
    days, judged = found.days, found.signal
    return {
        "status": "alarm" if judged.alarms else "quiet",
        "bundle": found.bundle.digest,
        "since": str(days[0]),
        "until": str(days[-1]),
        "rows": len(found.window.scores),
        "matured": int(found.window.matured.sum()),
        "signal": {
            "value": judged.value,
            "low": judged.low,
            "high": judged.high,
            "false_alarms": judged.false_alarms,
        },
        "drifted": [each.name for each in found.drifts if each.drifted],
        "performance": {name: each._asdict() for name, each in found.performance.items()},
    }
