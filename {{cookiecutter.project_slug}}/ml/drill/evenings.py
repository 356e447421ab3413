"""What is known at the end of a day, and what monitor and skew say of it: outcomes that are still to come are not."""

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from ml.contract import bundle, labels, release
from ml.contract.events import PREDICTIONS
from ml.contract.framing import framing
from ml.drill.door import Raised
from ml.drill.stage import midnight
from ml.eventlog.read import logged
from ml.monitoring import profiles
from ml.monitoring.look import Look, judge
from ml.monitoring.monitor import verdict
from ml.monitoring.observations import observations
from ml.monitoring.policy import Decision, decide
from ml.monitoring.retraining import evidence
from ml.monitoring.seen import Seen
from ml.monitoring.skew import compare
from ml.settings import settings

SAMPLE = 300  # requests of a day that go through the offline path
A_DAY = timedelta(days=1)


class Evening(NamedTuple):
    """What the monitor saw at the end of a day, what that raised, and what the policy made of it."""

    look: Look
    verdict: dict[str, object]
    raised: list[Raised]
    decision: Decision


class Evenings:
    """The evenings of a drill, by the labels and profiles of all its days."""

    def __init__(self) -> None:
        conf = settings()
        self._champion = bundle.load(conf.store_url, release.read().champion)
        self._trained = profiles.of_training(self._champion)
        rows = labels.read(conf.labels_url)
        self._rows = rows[rows.bundle == self._champion.digest]
        wait = rows.delay_hours.fillna(framing().label.attribution_hours)
        self._known = rows.time + pd.to_timedelta(wait, "h")
        self._served = logged(PREDICTIONS)
        read = profiles.read(conf.profiles_url, self._champion.digest, None, date.min, date.max)
        self._profiles = {str(day): each for day, each in read}

    def of(self, day: date) -> Evening:
        """Return the evening of a day."""
        end = midnight(day + A_DAY)
        now = pd.Timestamp(end, tz="UTC")
        rows = self._rows[self._rows.time < now]
        rows = rows.assign(outcome=rows.outcome.where(self._known[rows.index] < now))
        seen = Seen.of(observations(rows))
        told = {each: self._profiles[each] for each in seen.newest.days.tolist()}
        look = judge(self._champion, self._trained, seen, told, [])
        found = verdict(look)
        raised = [*self._skewed(day, end), *_of_verdict(look, end)]
        return Evening(look, found, raised, decide(evidence(found), [], framing().retraining))

    def _skewed(self, day: date, end: np.datetime64) -> list[Raised]:
        """Compare some of a day's requests with the offline path."""
        begin, now = (pd.Timestamp(moment, tz="UTC") for moment in (midnight(day), end))
        served = self._served[(self._served.time >= begin) & (self._served.time < now) & ~self._served.degraded]
        found = compare(settings().lake_url, served.sample(min(SAMPLE, len(served)), random_state=0).sort_index())
        if not found.differing:
            return []
        worst = found.differing[0]
        served_as, offline = (f"{one:.3g}" if isinstance(one, float) else one for one in (worst.served, worst.offline))
        many = f"{len(found.differing)} of the features differ, {worst.feature} most"
        says = f"{many}: served as {served_as}, offline {offline}"
        return [Raised("ServingSkew", end, says)]


def _of_verdict(look: Look, end: np.datetime64) -> list[Raised]:
    raised = []
    if drifted := [each for each in look.drifts if each.answer == "drift"]:
        far = max(drifted, key=lambda each: each.distance / each.threshold)
        others = f", and {len(drifted) - 1} others" if len(drifted) > 1 else ""
        says = f"{far.name} is {far.distance:.2f} from training, where {far.threshold:.2f} is much{others}"
        raised.append(Raised("InputDrift", end, says))
    if alarming := [each for each in look.signals if each.alarms]:
        told = "; ".join(
            f"{each.name} {each.value:+.3f}, limits {each.low:+.3f} and {each.high:+.3f}" for each in alarming
        )
        raised.append(Raised("ModelPerformance", end, told))
    return raised
