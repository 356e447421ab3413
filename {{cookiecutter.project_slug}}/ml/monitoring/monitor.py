"""The verb: look at what was served, say what it means, and leave a report and a verdict."""

import json
from datetime import date
from pathlib import Path
from typing import Any

from ml.monitoring.look import Look, look
from ml.monitoring.report import render
from ml.progress import say
from ml.settings import settings
from ml.store import files

VERDICT = "verdict.json"


def monitor(until: date | None, report: Path | None = None) -> dict[str, Any]:
    """Judge the newest matured window up to `until`; write report and verdict, and return the verdict."""
    looked = look(until)
    found = verdict(looked)
    reports = settings().reports_url
    home = files.join(reports, found["until"])
    page = str(report) if report else files.join(home, "monitor.html")
    files.write(page, render(looked, found).encode())
    found["report"] = page
    content = json.dumps(found, indent=1).encode()
    for folder in (home, reports):  # of this window, and the latest
        files.write(files.join(folder, VERDICT), content)
    judged = found["signal"]
    say(
        "monitor",
        f"{found['since']} to {found['until']}: {found['status']}, "
        f"observed minus predicted {judged['value']:+.3f} (limits {judged['low']:+.3f}, {judged['high']:+.3f}); "
        f"{len(found['drifted'])} of {len(looked.drifts)} variables drifted; report in {page}",
    )
    return found


def verdict(looked: Look) -> dict[str, Any]:
    """Return the verdict: an alarm comes from outcomes alone, drift of inputs is a notice."""
    days, judged = looked.days, looked.signal
    return {
        "status": "alarm" if judged.alarms else "quiet",
        "bundle": looked.bundle.digest,
        "since": str(days[0]),
        "until": str(days[-1]),
        "rows": len(looked.window.scores),
        "matured": int(looked.window.matured.sum()),
        "signal": {
            "value": judged.value,
            "low": judged.low,
            "high": judged.high,
            "false_alarms": judged.false_alarms,
        },
        "drifted": [each.name for each in looked.drifts if each.drifted],
        "performance": {name: each._asdict() for name, each in looked.performance.items()},
    }
