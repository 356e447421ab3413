"""The report's pictures: each function returns one inline SVG."""

import numpy as np

from ml.contract.framing import framing
from ml.contract.reference import Reference
from ml.monitoring.daily import Daily
from ml.monitoring.drift import Drift
from ml.monitoring.signal import Signal
from ml.pages.picture import BAD, CALM, GOOD, INK, OPEN, PALE, STRONG, Axes, as_high_as, picture
from ml.statistics.bootstrap import interval, ratio_of_sums, resampled_days

DRAWS = 400
FEW = 3  # days of a week with outcomes, below which it is not drawn: so few have no interval to speak of
ANSWERS = {"drift": BAD, "inconclusive": OPEN, "none": STRONG, "exempt": PALE}
MEANT = {
    "rate": "observed minus predicted rate",
    "loss": "realised minus estimated loss",
    "slope": "slope of the recalibrated logit, minus 1",
}


@picture(9, 3.2)
def performance(axes: Axes, reference: Reference, served: Daily) -> None:
    """Observed and predicted rate by day, of the training months and of all that was served."""
    rows = np.array(reference.rows)
    trained = np.array(reference.days, dtype="datetime64[D]")
    known = served.with_outcomes
    days = known.days.astype("datetime64[D]")
    axes.plot(trained, np.array(reference.observed) / rows, ".", color=CALM, label="observed in training")
    axes.plot(
        trained,
        np.array(reference.predicted) / rows,
        ".",
        ms=3,
        color=PALE,
        label="predicted in training",
    )
    axes.plot(days, known.observed / known.matured, ".", color=BAD, label="observed")
    axes.plot(days, known.predicted / known.matured, ".", ms=4, color=STRONG, label="predicted")
    axes.set(ylabel="rate of a day", ylim=(0, None))
    axes.legend(ncols=4, loc="upper left", bbox_to_anchor=(0, 1.16))


@picture(9, 3)
def weeks(axes: Axes, reference: Reference, served: Daily) -> None:
    """Realised and estimated loss of each seven days that have outcomes, the first with its 95 % interval over days."""
    known, metric = served.with_outcomes, framing().task.metric
    weeks = (np.arange(first, min(first + 7, len(known.days))) for first in range(0, len(known.days), 7))
    stretches = [each for each in weeks if len(each) >= FEW]
    middle = known.days.astype("datetime64[D]")[[each[len(each) // 2] for each in stretches]]
    realised, estimated, rows = known.realised, known.estimated, known.matured
    values = np.array([realised[each].sum() / rows[each].sum() for each in stretches])
    spread = [ratio_of_sums(realised[each], rows[each], resampled_days(len(each), DRAWS, 0)) for each in stretches]
    bounds = np.array([interval(each) for each in spread]).T
    axes.errorbar(middle, values, np.abs(bounds - values), fmt="o", color=BAD, capsize=3, label="realised, 95 %")
    let_expect = [estimated[each].sum() / rows[each].sum() for each in stretches]
    axes.plot(middle, let_expect, "_", ms=16, mew=2.5, color=STRONG, label="estimated by the scores")
    unseen = np.array(reference.unseen)
    usual = np.array(reference.realised)[unseen].sum() / np.array(reference.rows)[unseen].sum()
    axes.axhline(usual, color=CALM, ls="--", lw=1, label="realised in training, on days not fitted on")
    axes.set(ylabel=f"{metric.replace('_', ' ')} of a week", ylim=(0, None))
    axes.legend(ncols=3, loc="upper left", bbox_to_anchor=(0, 1.18))


@picture(4.4, 2.4)
def signal(axes: Axes, judged: Signal, days: int) -> None:
    """A signal among what windows of the training months give by chance."""
    axes.hist(judged.by_chance, bins=50, color=PALE, label=f"windows of {days} training days")
    axes.axvspan(judged.low, judged.high, color=GOOD, alpha=0.08)
    axes.axvline(judged.value, color=BAD if judged.alarms else GOOD, lw=2.5, label="this window")
    axes.set(xlabel=MEANT[judged.name], yticks=[])
    axes.locator_params(axis="x", nbins=5)
    axes.legend(ncols=2, loc="upper left", bbox_to_anchor=(0, 1.2))


@picture(4.4, 3.2)
def shares(axes: Axes, moved: Drift, cells: list[str]) -> None:
    """The shares of a variable's values in the cells of training; empty ones at the end are left out."""
    used = [at for at in range(len(cells)) if at < len(cells) - 2 or max(moved.trained[at], moved.served[at]) > 0.002]
    place = np.arange(len(used))
    axes.bar(place - 0.2, moved.trained[used], 0.4, color=CALM, label="training")
    axes.bar(place + 0.2, moved.served[used], 0.4, color=ANSWERS[moved.answer], label="served")
    axes.set_xticks(place, [cells[at] for at in used], rotation=60, fontsize=8, ha="right", rotation_mode="anchor")
    axes.set(ylabel="share")
    axes.legend(ncols=2, loc="upper left", bbox_to_anchor=(0, 1.16))


@picture(9, 4.4)
def drift(axes: Axes, drifts: list[Drift]) -> None:
    """Each variable's distance from training beside its threshold, the furthest on top."""
    ordered = sorted(drifts, key=lambda each: each.distance)
    as_high_as(1.2 + 0.22 * len(ordered))
    place = np.arange(len(ordered))
    for answer, colour in ANSWERS.items():
        own = [at for at in place if ordered[at].answer == answer]
        if own:
            axes.barh(own, [ordered[at].distance for at in own], color=colour, height=0.7, label=answer)
    limits = [(at, each.threshold) for at, each in enumerate(ordered) if each.answer != "exempt"]
    axes.vlines(
        [limit for _, limit in limits],
        [at - 0.42 for at, _ in limits],
        [at + 0.42 for at, _ in limits],
        color=INK,
        lw=2,
    )
    axes.set_yticks(place, [each.name for each in ordered])
    axes.set(xlabel="Hellinger distance from training; the upright mark is the threshold", xlim=(0, 1))
    axes.legend(ncols=4, loc="lower right")
    axes.grid(visible=False, axis="y")
