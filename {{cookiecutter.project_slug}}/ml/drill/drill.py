"""The verb: inject one fault after another into the days after training, and show who notices it, and how soon.

It lives in an environment of its own, `drill`: its events, labels and reports touch no other's.
"""

import shutil
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from ml.cluster.ways import variables
from ml.contract import bundle
from ml.contract.bundle import Bundle
from ml.delivery.release import whole
from ml.drill.door import Raised
from ml.drill.evenings import A_DAY, Evening, Evenings
from ml.drill.faults import FAULTS, Fault
from ml.drill.stage import midnight, play
from ml.drill.told import HEAD, Told, markdown
from ml.errors import ContractError
from ml.labelling.label import label
from ml.monitoring.profiling import profile
from ml.monitoring.report import render
from ml.problem import source
from ml.progress import say, table
from ml.settings import Drill, settings
from ml.store import files

ENVIRONMENT = "drill"
PAGE = "drill.md"
BROKEN = {"ContractBroken", "FeatureMissing"}
FOLLOWS = {"InputDrift": {*BROKEN, "ModelPerformance"}, "ServingSkew": BROKEN}  # what docs/runbook.md lets be silent


def drill(names: Sequence[str], digest: str | None) -> bool:
    """Play these faults, or all, against a bundle, by default the newest; say whether each raised its alert.

    Leaves nothing running, also when interrupted.
    """
    chosen = list(dict.fromkeys(names)) or list(FAULTS)
    if unknown := [name for name in chosen if name not in FAULTS]:
        raise ContractError("drill", f"there is no fault {unknown[0]!r}", f"Choose of {', '.join(FAULTS)}")
    found = whole(settings().store_url, digest)
    own = {"ML_RELEASE_ENVIRONMENT": ENVIRONMENT, "ML_RELEASE_BUNDLE": found.digest, "ML_ONLINE_URL": ""}
    with variables(**own):
        onset, until = _days(settings().drill, found)
        reports = files.local(settings().reports_url, "reports")
        with files.alone(reports, "drill"):
            told = [_play(name, onset, until, reports) for name in chosen]
            plan = settings().drill
            words = f"Bundle {found.digest[:12]} ({found.rung}), {plan.calm_days} calm days from {plan.since} on."
            page = reports / PAGE
            files.write(str(page), markdown(told, words).encode())
    table(f"Drill: {words}", HEAD, [each.row for each in told])
    seen = sum(each.first is not None for each in told)
    say("drill", f"{seen} of {len(told)} faults raised their alert; what came when is in {page}")
    return seen == len(told)


def _play(name: str, onset: date, until: date, reports: Path) -> Told:
    """Play one fault and watch its evenings until its alert is there, or the days are over."""
    conf, plan, begun = settings(), settings().drill, time.monotonic()
    for left in (conf.events_url, str(conf.spool), conf.labels_url, conf.profiles_url, conf.online_url):
        shutil.rmtree(files.local(left, "what earlier drills left"))  # simulated time begins anew
    fault = FAULTS[name](source.read(conf.lake_url, plan.since))
    say("drill", f"{name}: {fault.says}, from {onset} on")
    door, began = play(fault, plan.since, onset, until, reports / f"{name}.log")
    label()
    profile(conf.events_url, conf.profiles_url, conf.monitor.keep_days)
    raised, evening = _watched(fault, door.raised, onset, until)
    page = files.join(str(reports), f"{name}.html")
    files.write(page, render(evening.look, evening.verdict).encode())
    told = Told(name, fault, began, raised, evening.decision, page)
    _, alert, after, decided, _ = told.row
    seen = f"{alert} after {after}" if after else alert
    say("drill", f"{name}: {seen}; retraining: {decided}; it took {time.monotonic() - begun:.0f} s")
    return told


def _days(plan: Drill, found: Bundle) -> tuple[date, date]:
    """Return the first and the last day of the fault.

    Raises ContractError where the bundle was trained on the days, or the lake has not all of them.
    """
    if plan.since <= (trained_until := bundle.trained_until(found.manifest)):
        broken = f"{found.digest[:12]} was trained on days up to {trained_until}, and the drill begins on {plan.since}"
        raise ContractError("drill", broken, "Edit [drill] in project.toml, or name an earlier --bundle")
    onset = plan.since + timedelta(days=plan.calm_days)
    until = onset + timedelta(days=plan.days - 1)
    there = source.days(settings().lake_url)
    if absent := [day for day in (plan.since, onset, until) if day not in there]:
        broken = f"{settings().lake_url} has no records of {absent[0]}"
        raise ContractError("drill", broken, "Edit [drill] in project.toml, or run `ml ingest`")
    return onset, until


def _watched(fault: Fault, at_door: Sequence[Raised], onset: date, until: date) -> tuple[list[Raised], Evening]:
    """Return the alerts up to the evening on which the fault's own is there, and that evening.

    Raises ContractError where one is there before the fault: then the drill could show nothing.
    """
    evenings, raised = Evenings(), list[Raised]()
    evening = evenings.of(onset - A_DAY)
    if calm := [*(each for each in at_door if each.at <= midnight(onset)), *evening.raised]:
        broken = f"{calm[0].alert} is raised without any fault: {calm[0].says}"
        raise ContractError("drill", broken, "Choose other days for [drill] in project.toml")
    for ahead in range((until - onset).days + 1):
        day = onset + ahead * A_DAY
        evening = evenings.of(day)
        for each in [*(one for one in at_door if one.at <= midnight(day + A_DAY)), *evening.raised]:
            there = {one.alert for one in raised}
            if each.alert not in there and not FOLLOWS.get(each.alert, set()) & there:
                raised.append(each)
        if fault.alert in {each.alert for each in raised}:
            break
    return raised, evening
