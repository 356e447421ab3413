"""Labelled rows and shadow events as a service would have logged them, of models whose quality is known."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd

from ml.contract.framing import framing
from ml.contract.labels import OBSERVED, PENDING

FIRST = date(2024, 3, 4)
THRESHOLD = framing().cost.costs.threshold
BUNDLES = {"champion": "c" * 64, "new": "a" * 64, "other": "b" * 64}


@dataclass(frozen=True)
class Model:
    """How well an arm's model ranks (`skill` in logits of the truth), how long it takes, and how often it fails."""

    skill: float = 1.5
    seconds: float = 0.004
    fails: float = 0.0


def requests(days: int, entities: int, seed: int, a_day: float = 1.0) -> pd.DataFrame:
    """Return requests by day and entity, each with its truth: entities differ, and so do days."""
    random = np.random.default_rng(seed)
    rows = random.poisson(a_day * random.gamma(2, 0.5, entities), (days, entities))
    day, entity = (np.repeat(place.ravel(), rows.ravel()) for place in np.indices(rows.shape))
    odds = -2.2 + random.normal(0, 0.7, entities)[entity] + random.normal(0, 0.5, days)[day]
    when = [datetime(FIRST.year, FIRST.month, FIRST.day, 16, tzinfo=UTC) + timedelta(days=int(each)) for each in day]
    truth = random.random(len(day)) < 1 / (1 + np.exp(-odds))
    return pd.DataFrame(
        {
            "request_id": [f"{seed}-{place}" for place in range(len(day))],
            "time": pd.to_datetime(pd.Series(when, dtype=object)),
            "day": [str(FIRST + timedelta(days=int(each))) for each in day],
            "entity": [f"{each:016x}" for each in entity],
            "truth": truth.astype(float),
            "odds": odds,
            "seen": random.normal(0, 1, len(day)),
        }
    )


def scored(rows: pd.DataFrame, skill: float) -> np.ndarray:
    """Return scores that know the truth as well as `skill` says, calibrated: Gaussian evidence around it."""
    evidence = skill**2 * (rows.truth.to_numpy() - 0.5) + skill * rows.seen.to_numpy()
    return np.asarray(1 / (1 + np.exp(-(rows.odds.to_numpy() + evidence))))


def labelled(
    arms: dict[str, tuple[float, Model]],
    name: str = "trial",
    days: int = 28,
    before: int = 14,
    entities: int = 1200,
    seed: int = 0,
    a_day: float = 1.0,
) -> pd.DataFrame:
    """Return labelled rows of an experiment with these arms and their shares, after days of the champion alone.

    The last day's outcomes have not come yet.
    """
    random = np.random.default_rng(seed + 1)
    rows = requests(before + days, entities, seed, a_day)
    shares = [share for share, _ in arms.values()]
    assigned = random.choice(list(arms), entities, p=np.array(shares) / sum(shares))
    on = rows.day >= str(FIRST + timedelta(days=before))
    arm = np.where(on, assigned[[int(each, 16) for each in rows.entity]], "champion")
    score, seconds, fallback = np.zeros(len(rows)), np.zeros(len(rows)), np.full(len(rows), "", dtype=object)
    for each, (_, model) in arms.items():
        ours = arm == each
        failed = ours & (random.random(len(rows)) < model.fails)
        score[ours] = scored(rows, model.skill)[ours]
        score[failed] = scored(rows, arms["champion"][1].skill)[failed]
        seconds[ours] = random.lognormal(np.log(model.seconds), 0.4, ours.sum())
        fallback[failed] = "champion"
    open_still = rows.day == rows.day.max()
    return rows.assign(
        bundle=[BUNDLES[each] for each in arm],
        score=score,
        decision=score >= THRESHOLD,
        stored=False,
        experiment=np.where(on, name, None),
        arm=np.where(on, arm, None),
        fallback=fallback,
        seconds=seconds,
        outcome=rows.truth.where(~open_still),
        status=np.where(open_still, PENDING, OBSERVED),
        delay_hours=np.where(open_still, np.nan, 6.0),
    ).drop(columns=["truth", "odds", "seen"])


def mirrored(
    model: Model, name: str = "trial", days: int = 7, entities: int = 600, seed: int = 0, shed: float = 0.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a shadow's events beside a champion of usual skill, and the labelled rows of the same requests."""
    random = np.random.default_rng(seed + 1)
    rows = requests(days, entities, seed)
    old, new = scored(rows, Model.skill), scored(rows.assign(seen=0.9 * rows.seen), model.skill)
    drawn = random.random(len(rows))
    error = np.select([drawn < model.fails, drawn < model.fails + shed], ["timeout", "shed"], "")
    answered = error == ""
    shadow = rows[["request_id", "time", "entity"]].assign(
        kind="shadow",
        experiment=name,
        arm="new",
        bundle=BUNDLES["new"],
        score=np.where(answered, new, np.nan),
        decision=np.where(answered, new >= THRESHOLD, None),
        champion=BUNDLES["champion"],
        champion_score=old,
        champion_decision=old >= THRESHOLD,
        champion_seconds=random.lognormal(np.log(Model.seconds), 0.4, len(rows)),
        seconds=np.where(error == "shed", np.nan, random.lognormal(np.log(model.seconds), 0.4, len(rows))),
        error=error,
    )
    served = rows[["request_id", "time", "day", "entity"]].assign(
        bundle=BUNDLES["champion"], score=old, decision=old >= THRESHOLD, experiment=name, arm="champion",
        fallback="", seconds=shadow.champion_seconds, outcome=rows.truth, status=OBSERVED, delay_hours=6.0,
    )  # fmt: skip
    return shadow, served
