"""What each feature group, each trick for few positives and each step of the recipe is worth: one thing changed.

Run it in the project's environment with `python -m benchmarks.ablation`; it prints a Markdown table. Windows as long
as a retraining's follow each other through the lake. In each, the days that a training may fit on are chained forward
as `ml train` chains them; test days and the frozen test set are not looked at. Differences to the rung as it is are
paired by row, and their 95 % intervals have days as the unit of chance. The slope that calibrates a fold is learned
on the other folds, else calibration could not lose.
"""

import argparse
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, TargetEncoder

from ml.contract.framing import framing
from ml.features.definition import Feature
from ml.features.rows import Rows, records_of, rows_of
from ml.features.table import CATEGORIES, GROUPS, MISSING, NAMES, NUMBERS, WINDOWED
from ml.models.skew import Skewed
from ml.problem import source
from ml.settings import settings
from ml.statistics.inference import ratio
from ml.statistics.metrics import losses
from ml.training.calibrate import calibrate, moved
from ml.training.later import Later, later_days
from ml.training.rungs import unfitted
from ml.training.window import folds, split

RUNGS = ["logistic", "lightgbm"]
WINDOWS = 3
KEEPS = (0.5, 0.125)
BLANKED = 0.1  # share of a copy's categories that are blanked
JITTER = 0.05  # of a number's standard deviation: what a copy's numbers are moved by at random
RARE = 200  # categories with fewer rows share a column
TAIL = 0.025  # on each side of an interval

Floats = NDArray[np.float64]


class Augmented(ClassifierMixin, BaseEstimator):
    """An estimator fitted on more rows than there are: positives again and again, or changed copies of every other row.

    Copies stand beside their rows, so that the folds of a target encoding do not part them.
    """

    def __init__(self, estimator: ClassifierMixin, times: int = 1, change: str = "", seed: int = 0) -> None:
        self.estimator, self.times, self.change, self.seed = estimator, times, change, seed

    def fit(self, frame: Any, outcomes: Any) -> "Augmented":
        """Fit on the rows and their copies."""
        rows, chance = np.arange(len(outcomes)), np.random.default_rng(self.seed)
        counts = 1 + rows % 2 if self.change else np.where(outcomes == 1, self.times, 1)
        places = rows.repeat(counts)
        more = frame.loc[places].reset_index(drop=True)
        copies = np.diff(places, prepend=-1) == 0
        if self.change == "jitter":
            for name in frame.columns[: len(NUMBERS)]:
                step = chance.normal(0, JITTER * frame[name].std(), len(more))
                more[name] = np.where(copies, more[name] + step, more[name]).astype(np.float32)
        if self.change == "blank":
            for name in frame.columns[len(NUMBERS) :]:
                blanked = copies & (chance.random(len(more)) < BLANKED)
                more[name] = np.where(blanked, MISSING, more[name].to_numpy(object))
        self.classes_, self.estimator_ = np.array([0, 1]), clone(self.estimator).fit(more, outcomes.repeat(counts))
        return self

    def predict_proba(self, frame: Any) -> Any:
        """Return what the estimator says."""
        return self.estimator_.predict_proba(frame)


class Line(NamedTuple):
    """A line of the table: what is added to the logit of an estimator's scores, and whether they are calibrated."""

    name: str
    shift: float = 0.0
    calibrated: bool = True


class Found(NamedTuple):
    """What a line came to on every row that was judged: scores, losses and costs; and the CPU seconds of its fits."""

    scores: Floats
    losses: Floats
    costs: Floats
    seconds: float


def both(name: str, shift: float, done: bool) -> list[Line]:
    """Return a line with the correction `shift` and one without; `done` says that the estimator corrects by itself."""
    yes, no = (0.0, -shift) if done else (shift, 0.0)
    return [Line(f"{name}, corrected", yes), Line(f"{name}, not corrected", no)]


def recipes(rung: str, seed: int) -> Iterator[tuple[ClassifierMixin, list[Line]]]:
    """Yield estimators, each with the lines that its scores make; the first line is the rung as it is."""
    usual, weight = unfitted(rung, seed, threads=1), round(framing().cost.miss / framing().cost.false_alarm)
    yield usual, [Line("as is"), Line("not calibrated", calibrated=False)]
    last = f"{usual.steps[-1][0]}__" if hasattr(usual, "steps") else ""
    weighted = clone(usual).set_params(**{f"{last}class_weight": {0: 1, 1: weight}})
    heavy = f"positives weigh {weight}"
    plain = Line(f"{heavy}, neither corrected nor calibrated", calibrated=False)
    yield weighted, [*both(heavy, -np.log(weight), done=False), plain]
    yield Augmented(usual, times=weight), both(f"positives {weight} times", -np.log(weight), done=False)
    for keep in KEEPS:
        yield Skewed(usual, keep, seed), both(f"{keep:g} of the negatives", np.log(keep), done=True)
    yield (
        Augmented(usual, change="blank", seed=seed),
        [Line(f"half as many copies, {BLANKED:.0%} of categories blanked")],
    )
    yield Augmented(usual, change="jitter", seed=seed), [Line("half as many copies, numbers jittered")]
    if last and isinstance(usual[0], ColumnTransformer):
        for group in GROUPS:
            yield without(usual, group.features), [Line(f"without {group.name}")]
        if GROUPS:
            yield without(usual, WINDOWED), [Line("without windowed features")]
        numbers = [each for each in usual[0].transformers if each[0] == "numbers"]
        places = list(range(len(NUMBERS), len(NUMBERS) + len(CATEGORIES)))
        encoders = {
            "categories one-hot, rare and unseen as one": OneHotEncoder(
                handle_unknown="infrequent_if_exist", min_frequency=RARE, sparse_output=False
            ),
            "categories by target": TargetEncoder(cv=StratifiedKFold()),
            "categories by target, rows shuffled": TargetEncoder(cv=StratifiedKFold(shuffle=True, random_state=seed)),
        }
        if not any(isinstance(each[1], OneHotEncoder) for each in usual[0].transformers):
            del encoders["categories by target"]  # as it is
        for name, encoder in encoders.items():
            yield make_pipeline(ColumnTransformer([*numbers, ("categories", encoder, places)]), usual[-1]), [Line(name)]


def without(pipeline: Pipeline, features: Iterable[Feature]) -> Pipeline:
    """Return a pipeline that does not see some features."""
    hidden = {NAMES.index(feature.name) for feature in features}
    parts = [
        (name, step, [place for place in places if place not in hidden])
        for name, step, places in pipeline[0].transformers
    ]
    return make_pipeline(ColumnTransformer(parts), *(step for _, step in pipeline.steps[1:]))


def windows(lake: str, count: int) -> list[Rows]:
    """Return the fit days of windows that follow each other from the lake's first day on."""
    there, length = source.days(lake), timedelta(days=framing().retraining.window_days)
    starts = [there[0] + place * length for place in range(count)]
    return [
        split(rows_of(records_of(lake, [day for day in there if start <= day < start + length])))["fit"]
        for start in starts
    ]


def chained(estimator: ClassifierMixin, fit: Rows) -> tuple[Later, NDArray[np.int64]]:
    """Return the scores of later days, and the fold of each row."""
    ends: list[int] = []
    later = later_days(estimator, fit, lambda _, so_far: ends.append(len(so_far.scores)))
    return later, np.searchsorted(ends, np.arange(len(later.scores)), side="right")


def told(line: Line, later: Later, fold: NDArray[np.int64]) -> Floats:
    """Return scores as a line tells them: shifted, and calibrated by a slope that the other folds would have wanted."""
    scores = np.asarray(expit(logit(np.clip(later.scores, 1e-7, 1 - 1e-7)) + line.shift))
    if not line.calibrated:
        return scores
    given = (scores, later.bases, later.outcomes)
    slopes = [calibrate(*(each[fold != one] for each in given)) for one in np.unique(fold)]
    return moved(scores, later.bases, np.array(slopes)[fold])


def found(rung: str, seed: int, fits: list[Rows]) -> Iterator[tuple[str, Found]]:
    """Yield the name of each line and what it came to on the later days of all windows."""
    outcomes = np.concatenate([after.outcomes for fit in fits for _, after in folds(fit)])
    costs, metric = framing().cost.costs, framing().task.metric
    for estimator, lines in recipes(rung, seed):
        began = time.process_time()
        made = [chained(estimator, fit) for fit in fits]
        seconds = time.process_time() - began
        for line in lines:
            scores = np.concatenate([told(line, later, fold) for later, fold in made])
            acted = scores >= costs.threshold
            cost = np.where(acted, (1 - outcomes) * costs.false_alarm, outcomes * costs.miss)
            yield line.name, Found(scores, losses(outcomes, scores)[metric], cost, seconds)


def main(lake: str, rungs: list[str], count: int) -> None:
    """Print the table."""
    seed, fits = settings().train.seed, windows(lake, count)
    after = [after for fit in fits for _, after in folds(fit)]
    days, outcomes = (np.concatenate([getattr(each, name) for each in after]) for name in ("days", "outcomes"))
    window = np.repeat(range(count), [sum(len(each.days) for _, each in folds(fit)) for fit in fits])
    fitted_on = ", ".join(f"{fit.days.min()} to {fit.days.max()}" for fit in fits)
    print(f"Windows: {fitted_on}. Judged: {len(days):,} rows of {len(np.unique(days))} days, {outcomes.mean():.1%}")
    print(f"positive; without a model they cost {without_model(outcomes):.0f} per thousand.\n")
    print(
        f"| rung | changed | {framing().task.metric} | minus as is | worse in | observed / predicted | cost | seconds |"
    )
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for rung in rungs:
        usual: Found | None = None
        for name, line in found(rung, seed, fits):
            usual = usual or line
            apart = line.losses - usual.losses
            said = ["", ""]
            if line is not usual:
                each = ratio(apart, np.ones(len(apart)), days)
                worse = sum(apart[window == one].mean() > 0 for one in range(count))
                said = [f"{each.value:+.4f} ({each.low(TAIL):+.4f} to {each.high(TAIL):+.4f})", f"{worse} of {count}"]
            share = outcomes.mean() / line.scores.mean()
            shown = [f"{line.losses.mean():.4f}", *said, f"{share:.2f}", f"{1000 * line.costs.mean():.0f}"]
            print("|", " | ".join([rung, name, *shown, f"{line.seconds:.0f}"]), "|", flush=True)


def without_model(outcomes: NDArray[Any]) -> float:
    """Return what a thousand decisions cost where one acts always or never, whichever is cheaper."""
    cost, rate = framing().cost, float(outcomes.mean())
    return 1000 * min(rate * cost.miss, (1 - rate) * cost.false_alarm)


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--lake", default=settings().lake_url, help="where the partitions lie")
    words.add_argument("--rungs", nargs="+", default=RUNGS)
    words.add_argument("--windows", type=int, default=WINDOWS)
    asked = words.parse_args()
    main(asked.lake, asked.rungs, asked.windows)
