"""The real world of a season: the lake's records, the store's bundles, monitor, pipeline, gate and release."""

from collections.abc import Sequence
from datetime import date
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.contract import bundle, release, verdict
from ml.contract.bundle import Bundle
from ml.contract.profile import Profile
from ml.delivery.release import release as release_it
from ml.drill.living import Attempt, World
from ml.drill.served import Served
from ml.errors import ContractError
from ml.features.rows import Rows, records_of, rows_of
from ml.features.table import SCORE, Inputs
from ml.monitoring.daily import Daily
from ml.monitoring.look import ENOUGH, judge
from ml.monitoring.observations import Observations
from ml.monitoring.policy import Evidence
from ml.monitoring.profiles import of_training
from ml.monitoring.seen import Seen
from ml.monitoring.signal import signals
from ml.pipeline.run import run
from ml.settings import settings


def world() -> World:
    """Return the world of this process's environment."""
    return World(_read, _score, _watch, _alarms, _train, _promote)


@cache
def _loaded(digest: str) -> Bundle:
    return bundle.load(settings().store_url, digest)


def _read(since: date, until: date) -> Rows:
    return rows_of(records_of(settings().lake_url, pd.date_range(since, until).date.tolist()))


def _score(digest: str, inputs: Inputs) -> NDArray[np.float64]:
    return _loaded(digest).scorer.score(inputs)


def _watch(digest: str, served: Served, labelled: NDArray[np.str_]) -> Evidence | None:
    """Ask the monitor, with the windows that it has in production."""
    champion, seen = _loaded(digest), Seen.of(served.said)
    if len(seen.window.with_outcomes.days) < ENOUGH:
        return None
    found = judge(champion, of_training(champion), seen, _profiles(served, seen.newest.days), [])
    trained_until = bundle.trained_until(champion.manifest)
    return Evidence(
        day=date.fromisoformat(found.matured.days[-1]),
        alarms=[each.name for each in found.signals if each.alarms],
        drifted=[each.name for each in found.drifts if each.answer == "drift"],
        worse=found.expected.worse,
        trained_until=trained_until,
        new_labels=int((labelled > str(trained_until)).sum()),
    )


def _profiles(served: Served, days: NDArray[np.str_]) -> dict[str, Profile]:
    """Return a profile of each of some days, as `ml profile` would keep it."""
    rows = np.isin(served.said.days, days)
    frame = served.features[rows].assign(**{SCORE: served.said.scores[rows]})
    return {str(day): Profile.of(part) for day, part in frame.groupby(served.said.days[rows])}


def _alarms(digest: str, seen: Observations) -> Sequence[str]:
    window = Daily.of(seen).window(None, settings().monitor.window_days)
    if len(window.with_outcomes.days) < ENOUGH:
        return []
    return [each.name for each in signals(_loaded(digest).reference, window) if each.alarms]


def _train(since: date, until: date) -> Attempt:
    """Let the pipeline train and the gate judge; raises ContractError where a step fails."""
    store, champion = settings().store_url, release.champion() or ""
    made = run(since, until).bundle
    judged = verdict.load(store, made, champion)
    if judged is None:
        raise ContractError("drill", f"the gate left no verdict on {made[:12]}", "See the log of the run")
    return Attempt(made, judged.answer, [each.name for each in judged.checks if each.counts != "pass"])


def _promote(digest: str) -> None:
    release_it(settings().store_url, digest)
