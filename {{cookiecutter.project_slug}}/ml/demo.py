"""The whole flow on this machine: train, serve, replay what came later, and let the monitor judge it.

It lives in an environment of its own, `demo`: its release, events and reports touch no other's.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ml.contract import bundle, verdict
from ml.delivery.release import release
from ml.features.table import NAMES
from ml.labelling.label import label
from ml.monitoring.monitor import monitor
from ml.monitoring.skew import Skew, skew
from ml.pipeline.run import Run, run
from ml.progress import say, table
from ml.replay import replay
from ml.serving import server
from ml.settings import settings
from ml.statistics.metrics import Estimate, digits
from ml.store import files

ENVIRONMENT = "demo"
SAMPLE = 2000  # served requests that go through the offline path again


def demo() -> None:
    """Run every verb and show what came out; leaves nothing running, also when interrupted."""
    os.environ["ML_RELEASE_ENVIRONMENT"] = ENVIRONMENT
    os.environ.pop("ML_RELEASE_BUNDLE", None)  # the demo serves what it has trained
    os.environ["ML_ONLINE_URL"] = ""  # and has an online store of its own, which it empties
    settings.cache_clear()
    with files.alone(files.local(settings().reports_url, "reports"), "demo"):
        _demo()


def _demo() -> None:
    conf = settings()
    conf.release_file.unlink(missing_ok=True)  # of earlier demos, as are the events below: it is the first release
    seconds: dict[str, float] = {}
    with _timed(seconds, "pipeline"):
        ran = run(conf.data.since, conf.data.until)
    with _timed(seconds, "release"):
        release(conf.store_url, ran.bundle)
    for begun in (conf.events_url, str(conf.spool), conf.labels_url, conf.online_url):  # simulated time begins anew
        shutil.rmtree(files.local(begun, "what earlier demos left"))
    verdicts = []
    host, port = conf.serve.host, server.free_port()
    log = files.local(conf.reports_url, "reports") / "serve.log"
    began = time.monotonic()
    with server.running(host, port, "simulated", log) as service:
        seconds["serve"] = time.monotonic() - began
        say("serve", f"bundle {ran.bundle[:12]} on {service.url}, log in {log}")
        for since, until in conf.demo.replays:
            with _timed(seconds, "replay"):
                replay(conf.lake_url, since, until, *service)
            with _timed(seconds, "label"):
                label()
            with _timed(seconds, "monitor"):
                verdicts.append(monitor(until))
    with _timed(seconds, "skew"):
        skewed = skew(SAMPLE)
    _show(ran, service.url, verdicts, skewed, seconds)


@contextmanager
def _timed(seconds: dict[str, float], verb: str) -> Iterator[None]:
    """Add the block's wall seconds to a verb."""
    began = time.monotonic()
    try:
        yield
    finally:
        seconds[verb] = seconds.get(verb, 0.0) + time.monotonic() - began


def _show(ran: Run, url: str, verdicts: list[dict[str, Any]], skewed: Skew, seconds: dict[str, float]) -> None:
    """Print the closing table and where to look next."""
    store = settings().store_url
    found = bundle.load(store, ran.bundle)
    made = found.manifest
    tested = {name: Estimate(**each) for name, each in made["ladder"][made["rung"]]["test"].items()}
    judged = verdict.load(store, ran.bundle, found.baseline)
    rows = {
        "trained": f"{made['rung']}, bundle {ran.bundle[:12]}",
        "on": f"{made['fit']['rows']:,} records of {' to '.join(made['fit']['span'])}, "
        f"tested on {made['test']['rows']:,} later ones",
        "how good": f"ROC-AUC {tested['roc_auc']}, log loss {tested['log_loss']} "
        f"on the days from {made['test']['days'][0]}",
        "costs": f"{digits(tested['cost'].value)} per thousand decisions, "
        f"{digits(tested['cost_without_model'].value)} without the model",
        "gate": f"{judged.answer}, {judged.claim} than {judged.champion.rung}, {len(judged.checks)} checks"
        if judged
        else "",
        "served": f"{sum(each['rows'] for each in verdicts):,} predictions at {url}, stopped again",
        "skew": f"{len(skewed.differing)} of {len(NAMES)} features were served otherwise than trained, "
        f"of {skewed.compared:,} requests",
    }
    for each in verdicts:
        asks = "alarm, asks to be retrained" if each["status"] == "alarm" else "quiet"
        rows[f"monitor {each['until']}"] = f"{asks}: observed minus predicted {each['signal']['value']:+.3f}"
    table(settings().project.name, [], list(rows.items()))
    spent = ", ".join(f"{verb} {taken:.0f} s" for verb, taken in seconds.items())
    print(f"time      {sum(seconds.values()):.0f} s: {spent}")
    print(f"gate      {files.join(verdict.folder(store, ran.bundle, found.baseline), verdict.PAGE)}")
    print(f"card      {files.join(bundle.folder(store, ran.bundle), bundle.PAGE)}")
    for each in verdicts:
        print(f"report    {each['report']}")
    print(f"data docs {ran.data_docs}")
    if verdicts[-1]["status"] == "alarm":
        print(f"next      ML_RELEASE_ENVIRONMENT={ENVIRONMENT} ml retrain")
