"""What was served, read from the labels one day at a time: sums of every day, and some rows of the newest."""

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from ml.contract import labels
from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.contract.release import Experiment
from ml.monitoring.daily import Daily
from ml.monitoring.holdout import HELD, Honest, honest
from ml.monitoring.observations import Observations, observations
from ml.settings import settings

DRAWN = 200_000  # rows with an outcome, at most about, that metrics and calibration are measured on
SEED = 0


class Seen(NamedTuple):
    """What was served: all by which the champion may be judged, its newest matured days, and the newest days of all.

    `drawn` are rows of the matured days, with their outcomes. `biased` says why what is measured does not hold for all,
    and is empty where it does.
    """

    served: Daily
    window: Daily
    newest: Daily
    drawn: Observations
    biased: str = ""

    @classmethod
    def of(cls, rows: Observations) -> "Seen":
        """Return what rows say that fit into memory, all of which the champion may be judged by."""
        conf, served = settings().monitor, Daily.of(rows)
        window = served.window(None, conf.window_days)
        drawn = rows.where(rows.matured & np.isin(rows.days, window.days))
        return cls(served, window, served.newest(None, conf.drift_days), drawn)


def read(champion: Bundle, tried: Experiment | None, until: date | None) -> Seen:
    """Read what this environment's champion has served; windows end at a day, or with the newest.

    Raises ContractError where nothing is labelled.
    """
    conf, url = settings().monitor, settings().labels_url
    since = labels.newest(url) - timedelta(conf.keep_days)
    judged = honest((rows for _, rows in labels.by_day(url, since, columns=HELD)), champion, tried, framing().label)
    own, judging = list[Daily](), list[Daily]()
    for _, rows in labels.by_day(url, since, columns=judged.columns):
        own.append(Daily.of(observations(rows[rows.bundle == champion.digest])))
        judging.append(Daily.of(judged.of(rows)) if judged.scored_again else own[-1])
    served = Daily.together(judging)
    window = served.window(until, conf.window_days)
    return Seen(
        served, window, Daily.together(own).newest(until, conf.drift_days), _drawn(judged, window), judged.reason
    )


def _drawn(judged: Honest, window: Daily) -> Observations:
    """Draw rows with an outcome from all days of a window alike."""
    share, rng = DRAWN / max(window.matured.sum(), 1), np.random.default_rng(SEED)
    drawn = [Observations.none()]
    for _, rows in labels.by_day(settings().labels_url, *window.span, judged.columns) if window.span else ():
        each = judged.of(rows)
        drawn.append(each.where(each.matured & (rng.random(len(each.scores)) < share)))
    return Observations.together(drawn)
