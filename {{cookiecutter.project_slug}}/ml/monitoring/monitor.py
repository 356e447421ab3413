"""The verb: look at what was served, say what it means, and leave a report and a verdict."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ml.contract.clock import Clock
from ml.monitoring.look import Look, look
from ml.monitoring.profiling import profile
from ml.monitoring.report import render
from ml.progress import say
from ml.settings import settings
from ml.store import files

VERDICT = "verdict.json"
MEANT = {"rate": "observed minus predicted", "loss": "realised minus estimated loss", "slope": "slope minus 1"}
DELAYS = {"half": 0.5, "most": 0.95}  # shares of the outcomes that came within so many hours


def monitor(until: date | None, report: Path | None = None) -> dict[str, Any]:
    """Judge the newest matured window up to `until`; write report and verdict, and return the verdict."""
    conf = settings()
    profile(conf.events_url, conf.profiles_url, conf.monitor.keep_days)  # else drift would be judged by old profiles
    looked = look(until)
    found = verdict(looked)
    reports = conf.reports_url
    home = files.join(reports, found["until"])
    page = str(report) if report else files.join(home, "monitor.html")
    files.write(page, render(looked, found).encode())
    found["report"] = page
    content = json.dumps(found, indent=1).encode()
    for folder in (home, reports):  # of this window, and the latest
        files.write(files.join(folder, VERDICT), content)
    drifted, open_ = len(found["drifted"]), len(found["inconclusive"])
    say(
        "monitor",
        f"{found['since']} to {found['until']}: {found['status']}, {told(found)}; "
        f"{drifted} of {len(looked.drifts)} variables drifted, {open_} inconclusive; report in {page}",
    )
    return found


def told(found: dict[str, Any]) -> str:
    """Return in words what a verdict's signals are: those that alarm, or else the rate."""
    signals = found["signals"]
    alarming = [name for name, each in signals.items() if each["alarms"]] or ["rate"]
    of = [
        f"{MEANT[name]} {each['value']:+.3f} (limits {each['low']:+.3f}, {each['high']:+.3f})"
        for name, each in signals.items()
        if name in alarming
    ]
    return ", ".join(of)


def verdict(looked: Look) -> dict[str, Any]:
    """Return the verdict as plain JSON: an alarm comes from outcomes alone, drift of inputs is a notice."""
    seen, matured = looked.seen, looked.matured
    delays = seen.drawn.delays[~np.isnan(seen.drawn.delays)]
    return {
        "status": "alarm" if any(each.alarms for each in looked.signals) else "quiet",
        "bundle": looked.bundle.digest,
        "since": str(matured.days[0]),
        "until": str(matured.days[-1]),
        "served_until": str(seen.newest.days[-1]),
        "judged_at": Clock("wall").now().isoformat(timespec="seconds"),
        "rows": int(seen.window.served.sum()),
        "matured": int(seen.window.matured.sum()),
        "coverage": float(seen.window.matured.sum() / seen.window.served.sum()),
        "delay_hours": dict(zip(DELAYS, np.quantile(delays, list(DELAYS.values())).tolist(), strict=True))
        if len(delays)
        else {},
        "signals": {
            each.name: {
                "value": each.value,
                "low": each.low,
                "high": each.high,
                "false_alarms": each.false_alarms,
                "alarms": each.alarms,
            }
            for each in looked.signals
        },
        "estimated": {
            **looked.expected._asdict(),
            "worse": looked.expected.worse,
            "days": len(seen.newest.days),
        },
        "drift": {
            each.name: {
                "answer": each.answer,
                "distance": each.distance,
                "threshold": each.threshold,
                "power": each.power,
                "weight": each.weight,
                "psi": each.psi,
            }
            for each in looked.drifts
        },
        "drifted": [each.name for each in looked.drifts if each.answer == "drift"],
        "inconclusive": [each.name for each in looked.drifts if each.answer == "inconclusive"],
        "biased": seen.biased,
        "performance": {name: each._asdict() for name, each in looked.performance.items()},
    }
