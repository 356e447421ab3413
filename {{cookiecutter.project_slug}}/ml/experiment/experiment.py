"""The verb: judge an experiment, and leave the verdict and its page."""

import pandas as pd

from ml.contract import labels, release
from ml.contract.events import SHADOWS
from ml.contract.release import Mode
from ml.errors import ContractError
from ml.eventlog.read import by_hour, frame
from ml.experiment.analysis import of_arms, of_shadow
from ml.experiment.plan import plan
from ml.experiment.report import render
from ml.experiment.verdict import Verdict
from ml.progress import say, table
from ml.settings import settings
from ml.store import files

FOLDER = "experiments"
CAME = ["request_id", "day", "outcome"]


def experiment(name: str | None = None, mode: Mode | None = None) -> Verdict:
    """Judge an experiment and write <name>.json and <name>.html below `experiments` in the reports."""
    found, shadows = judged(name, mode)
    home = files.join(settings().reports_url, FOLDER)
    page = files.join(home, f"{found.name}.html")
    files.write(files.join(home, f"{found.name}.json"), found.model_dump_json(indent=1).encode())
    files.write(page, render(found, shadows).encode())
    show(found)
    say("experiment", f"{found.verdict}: {found.name}, {found.mode}, {found.since} to {found.until}; page in {page}")
    return found


def judge_running() -> None:
    """Judge the experiment that the release names, if it names one; where it cannot be judged yet, say why."""
    if not release.champion() or not release.read().experiment:
        return
    try:
        experiment()
    except ContractError as error:
        say("experiment", f"no verdict yet: {error}")


def judged(name: str | None = None, mode: Mode | None = None) -> tuple[Verdict, pd.DataFrame]:
    """Return the verdict, and the shadow events that it is of, none in other modes; raises ContractError."""
    url, asked = settings().labels_url, plan(name, mode)
    if asked.mode != "shadow":
        return of_arms(asked, labels.read(url, columns=labels.COLUMNS)), pd.DataFrame()  # also of before it began
    shadows = _shadows(asked.name)
    try:
        outcomes = labels.read(url, columns=CAME, where=lambda rows: rows.request_id.isin(shadows.request_id))
    except ContractError:  # a shadow can be compared before anything is labelled
        outcomes = pd.DataFrame(columns=CAME)
    return of_shadow(asked, shadows, outcomes), shadows


def _shadows(experiment: str) -> pd.DataFrame:
    """Return what an experiment's shadows would have said."""
    hours = (frame(SHADOWS, [rows]) for rows in by_hour(SHADOWS))
    return pd.concat([frame(SHADOWS, []), *(rows[rows.experiment == experiment] for rows in hours)], ignore_index=True)


def show(found: Verdict) -> None:
    """Print the checks."""
    rows = [("", check.name, check.answer, check.said) for check in found.split]
    rows += [(each.arm, check.name, check.answer, check.said) for each in found.comparisons for check in each.checks]
    table(f"{found.name}: {found.claim}", ("arm", "check", "answer", "said"), rows)
