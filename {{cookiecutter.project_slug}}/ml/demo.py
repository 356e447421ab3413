"""The whole flow on this machine: train, serve, replay what came later, and let the monitor judge it.

It lives in an environment of its own, `demo`: its release, events and reports touch no other's.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from ml.contract import bundle, ledger, secrets, verdict
from ml.contract import release as contract
from ml.delivery.release import end, release, try_out
from ml.experiment.experiment import FOLDER, experiment
from ml.experiment.verdict import Verdict
from ml.features.table import NAMES
from ml.gate.gate import gate
from ml.labelling.label import label
from ml.monitoring import attempts
from ml.monitoring.monitor import monitor, told
from ml.monitoring.skew import Skew, skew
from ml.pipeline.run import Run, run
from ml.progress import say, table
from ml.replay import replay
from ml.serving import server
from ml.settings import settings
from ml.statistics.metrics import Estimate, digits
from ml.store import files

ENVIRONMENT = "demo"
SALT = b"No secret: every demo splits its entities alike."
CANARY = 30  # percent of the entities
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
    challenger = runner_up(ran.bundle)
    files.write(str(conf.secrets / secrets.SALT), SALT)
    try_out(conf.store_url, challenger, "shadow", 100, "demo-shadow")
    served = (conf.events_url, str(conf.spool), conf.labels_url, conf.profiles_url, conf.online_url)
    for begun in (*served, ledger.folder(conf.store_url, attempts.book())):  # simulated time begins anew
        shutil.rmtree(files.local(begun, "what earlier demos left"))
    verdicts, experiments = [], []
    port, log = server.free_port(), files.local(conf.reports_url, "reports") / "serve.log"
    began = time.monotonic()
    with server.running(conf.serve.host, port, "simulated", log) as service:
        seconds["serve"] = time.monotonic() - began
        say("serve", f"bundle {ran.bundle[:12]} on {service.url}, log in {log}")
        for since, until in conf.demo.replays:
            with _timed(seconds, "replay"):
                replay(conf.lake_url, since, until, *service)
            with _timed(seconds, "label"):
                labelled = label()
            with _timed(seconds, "monitor"):
                verdicts.append(monitor(until))
            if contract.read().experiment:
                with _timed(seconds, "experiment"):
                    experiments.append(experiment())
                    _go_on(challenger, experiments[-1], until)
                    server.wait_for_plan(service.url, contract.read().plan)
    with _timed(seconds, "skew"):
        skewed = skew(SAMPLE)
    _show(ran, labelled["rows"], verdicts, experiments, skewed, seconds)


def runner_up(champion: str) -> str:
    """Return the digest of the best other rung of a champion's ladder, the simplest where there is no third."""
    store = settings().store_url
    others = {rung: digest for rung, digest in bundle.ladder(store, champion).items() if digest != champion}
    ladder = bundle.load(store, champion).manifest["ladder"]
    return others[min(others, key=lambda rung: float(ladder[rung]["loss"]))]


def _go_on(challenger: str, judged: Verdict, until: date) -> None:
    """Let a challenger climb from shadow to canary to champion, as long as experiment and gate let it.

    The gate is asked again after the shadow: the days that were labelled meanwhile are days that training never saw.
    Two weeks of a canary decide little about cost; the demo does not wait until they do, as a team should.
    """
    conf = settings()
    champion = contract.read().champion
    if judged.verdict == "fail":
        end(conf.store_url)
    elif judged.mode == "canary":
        release(conf.store_url, challenger)
    elif gate(conf.lake_url, conf.store_url, champion, challenger, until).answer == "pass":
        try_out(conf.store_url, challenger, "canary", CANARY, "demo-canary")
    else:
        end(conf.store_url)


@contextmanager
def _timed(seconds: dict[str, float], verb: str) -> Iterator[None]:
    """Add the block's wall seconds to a verb."""
    began = time.monotonic()
    try:
        yield
    finally:
        seconds[verb] = seconds.get(verb, 0.0) + time.monotonic() - began


def _show(
    ran: Run,
    served: int,
    verdicts: list[dict[str, Any]],
    experiments: list[Verdict],
    skewed: Skew,
    seconds: dict[str, float],
) -> None:
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
        "served": f"{served:,} predictions, by a service that ran through and has stopped again",
        "skew": f"{len(skewed.differing)} of {len(NAMES)} features were served otherwise than trained, "
        f"of {skewed.compared:,} requests",
    }
    for tried in experiments:
        said = tried.reasons[0].partition(". ")[0]
        rows[f"{tried.mode} {tried.until}"] = f"{tried.verdict}: {said}"
    champion = bundle.load(store, contract.read().champion)
    rows["champion now"] = f"{champion.rung}, bundle {champion.digest[:12]}"
    for each in verdicts:
        asks = "alarm, asks to be retrained" if each["status"] == "alarm" else "quiet"
        rows[f"monitor {each['until']}"] = f"{asks}: {told(each)}"
    table(settings().project.name, [], list(rows.items()))
    spent = ", ".join(f"{verb} {taken:.0f} s" for verb, taken in seconds.items())
    print(f"time      {sum(seconds.values()):.0f} s: {spent}")
    print(f"gate      {files.join(verdict.folder(store, ran.bundle, found.baseline), verdict.PAGE)}")
    print(f"card      {files.join(bundle.folder(store, ran.bundle), bundle.PAGE)}")
    for tried in experiments:
        print(f"tried     {files.join(settings().reports_url, FOLDER, tried.name)}.html")
    for each in verdicts:
        print(f"report    {each['report']}")
    print(f"data docs {ran.data_docs}")
    if verdicts[-1]["status"] == "alarm":
        print(f"next      ML_RELEASE_ENVIRONMENT={ENVIRONMENT} ml retrain")
