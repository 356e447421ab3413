"""The verb: label what this environment predicted, rewrite the days whose labels changed, and report."""

import json
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pandas as pd

from ml.contract.framing import Label, framing
from ml.contract.labels import COLUMNS, PENDING
from ml.errors import ContractError
from ml.labelling.join import join
from ml.labelling.log import Log
from ml.labelling.report import Day, render, summary
from ml.progress import say
from ml.settings import settings
from ml.store import files, partitions

SUMMARY, PAGE = "labels.json", "labels.html"
SAID = ["request_id", "status", "outcome", "delay_hours"]  # by which is seen what has changed


def label() -> dict[str, Any]:
    """Label every prediction in the event log and return the summary; raises ContractError where there is none.

    The newest event tells what time it is, in wall time and in simulated time alike: of moments that the log has not
    reached, nobody can say what did not come. What is no longer in the log keeps the label it has.
    """
    conf, rule = settings(), framing().label
    with TemporaryDirectory() as folder:
        log = Log(Path(folder))
        if not log.newest or not log.days:
            nothing = f"nothing has been predicted in the environment {conf.release.environment} yet"
            raise ContractError("labels", nothing, "Send requests to `ml serve`, or let `ml replay` send some")
        now, there = log.newest, {str(day) for day in partitions.days(conf.labels_url)}
        labelled = [_day(log, day, day in there, now, rule) for day in log.days]
    days = [each.became for each in labelled]
    written = [str(each.became.day) for each in labelled if each.written]
    corrected = [str(each.became.day) for each in labelled if each.corrected]
    found = summary(days, now, rule) | {"unmatched": log.unmatched, "written": written, "corrected": corrected}
    page = files.join(conf.reports_url, PAGE)
    files.write(page, render(found, days).encode())
    files.write(files.join(conf.reports_url, SUMMARY), json.dumps(found, indent=1).encode())
    came = found["status"]["observed"] + found["status"]["late"]
    say(
        "label",
        f"{found['rows']:,} predictions of {len(days)} days, {came:,} with their outcome; "
        f"wrote {len(written)} days, corrected {len(corrected)} earlier ones; report in {page}",
    )
    return found


def forget(requests: set[str]) -> int:
    """Take requests out of the labels, and return of how many days."""
    url, changed = settings().labels_url, 0
    for day in partitions.days(url):
        rows = partitions.read(url, day)
        if (kept := ~rows.request_id.isin(requests)).all():
            continue
        partitions.write(url, day, rows[kept])
        changed += 1
    return changed


class Labelled(NamedTuple):
    """What became of a day, whether that is written anew, and whether what was said of it before was wrong."""

    became: Day
    written: bool
    corrected: bool


def _day(log: Log, name: str, there: bool, now: datetime, rule: Label) -> Labelled:
    """Label a day, and write it if anything has changed; the rows of one day are in memory at a time."""
    url = settings().labels_url
    ((day, rows),) = join(*log.of(name), now, rule)
    form = partitions.columns(url, day) if there else []
    # One of another form says nothing.
    old = partitions.read(url, day, SAID) if set(COLUMNS) <= set(form) else rows[SAID][:0]
    if (gone := ~old.request_id.isin(rows.request_id)).any():
        rows = pd.concat([partitions.read(url, day)[gone], rows], ignore_index=True)
    if changed := form != list(rows) or len(old) != len(rows) or _differ(old, rows, "delay_hours"):
        partitions.write(url, day, rows)
    return Labelled(Day.of(day, rows, now, rule), changed, _differ(old[old.status != PENDING], rows))


def _differ(old: pd.DataFrame, rows: pd.DataFrame, *also: str) -> bool:
    """Say whether something else is said now of a request that was labelled before; no value is the same as none."""
    after = rows.drop_duplicates("request_id").set_index("request_id").reindex(old.request_id)
    pairs = ((old[name].to_numpy(), after[name].to_numpy()) for name in ("status", "outcome", *also))
    return any(((before != now) & ((before == before) | (now == now))).any() for before, now in pairs)
