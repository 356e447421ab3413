"""The whole flow on this machine: train, serve, replay what came later, and let the monitor judge it.

It lives in an environment of its own, `demo`: its release, events and reports touch no other's.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ml.contract import bundle
from ml.delivery.release import release
from ml.monitoring.monitor import monitor
from ml.progress import say
from ml.replay import replay
from ml.serving import server
from ml.settings import settings
from ml.store import files

ENVIRONMENT = "demo"


def demo() -> None:
    """Run every verb and show what came out; leaves nothing running, also when interrupted."""
    os.environ["ML_RELEASE_ENVIRONMENT"] = ENVIRONMENT
    os.environ.pop("ML_RELEASE_BUNDLE", None)  # the demo serves what it has trained
    settings.cache_clear()
    with files.alone(files.local(settings().reports_url, "reports"), "demo"):
        _demo()


def _demo() -> None:
    conf = settings()
    seconds: dict[str, float] = {}
    with _timed(seconds, "pipeline"):
        from ml.training.pipeline import run

        digest, docs = run(conf.data.since, conf.data.until)
    with _timed(seconds, "release"):
        release(conf.store_url, digest)
    shutil.rmtree(files.local(conf.events_url, "events"))  # of earlier demos: simulated time begins anew
    verdicts = []
    host, port = conf.serve.host, server.free_port()
    log = files.local(conf.reports_url, "reports") / "serve.log"
    began = time.monotonic()
    with server.running(host, port, "simulated", log) as url:
        seconds["serve"] = time.monotonic() - began
        say("serve", f"bundle {digest[:12]} on {url}, log in {log}")
        for since, until in conf.demo.replays:
            with _timed(seconds, "replay"):
                replay(conf.lake_url, since, until, url)
            with _timed(seconds, "monitor"):
                verdicts.append(monitor(until))
    _show(digest, docs, url, verdicts, seconds)


@contextmanager
def _timed(seconds: dict[str, float], verb: str) -> Iterator[None]:
    """Add the block's wall seconds to a verb."""
    began = time.monotonic()
    try:
        yield
    finally:
        seconds[verb] = seconds.get(verb, 0.0) + time.monotonic() - began


def _show(digest: str, docs: Path, url: str, verdicts: list[dict[str, Any]], seconds: dict[str, float]) -> None:
    """Print the closing table and where to look next."""
    made = bundle.load(settings().store_url, digest).manifest
    days, cost, tested = made["days"], made["decisions"], made["test"][made["rung"]]

    def metric(name: str) -> str:
        return f"{tested[name]['value']:.3f} ({tested[name]['low']:.3f} to {tested[name]['high']:.3f})"

    rows = {
        "trained": f"{made['rung']}, bundle {digest[:12]}",
        "on": f"{made['rows']['fit']:,} records of {days['fit'][0]} to {days['fit'][1]}, "
        f"chosen on {made['rows']['validation']:,} later ones, tested on {made['rows']['test']:,}",
        "how good": f"ROC-AUC {metric('roc_auc')}, log loss {metric('log_loss')} on the days from {days['test'][0]}",
        "costs": f"{cost['cost_per_thousand']:.0f} per thousand decisions, "
        f"{cost['cost_per_thousand_without_model']:.0f} without the model",
        "served": f"{sum(each['rows'] for each in verdicts):,} predictions at {url}, stopped again",
    }
    for each in verdicts:
        asks = "alarm, asks to be retrained" if each["status"] == "alarm" else "quiet"
        rows[f"monitor {each['until']}"] = f"{asks}: observed minus predicted {each['signal']['value']:+.3f}"
    table = Table(show_header=False, title=settings().project.name, title_justify="left")
    for name, text in rows.items():
        table.add_row(name, text)
    console = Console(width=max(110, Console().width) if not Console().is_terminal else None)
    console.print(table)
    spent = ", ".join(f"{verb} {taken:.0f} s" for verb, taken in seconds.items())
    print(f"time      {sum(seconds.values()):.0f} s: {spent}")
    for each in verdicts:
        print(f"report    {each['report']}")
    print(f"data docs {docs}")
    if verdicts[-1]["status"] == "alarm":
        print(f"next      ML_RELEASE_ENVIRONMENT={ENVIRONMENT} ml retrain")
