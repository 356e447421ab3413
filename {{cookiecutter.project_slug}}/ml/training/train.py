"""Step 4: fit one rung of the ladder: compared on later days, calibrated by them, then fitted on all of them.

Nothing is fitted, compared or calibrated on the newest days, the test weeks, or on the frozen test set; their inputs
serve to prove the exported graph. Rungs know nothing of each other, so they may be trained side by side, in any order.
"""

from pathlib import Path

import numpy as np

from ml.contract.framing import framing
from ml.features.rows import Rows, from_parquet
from ml.progress import Bar, say
from ml.training.calibrate import towards
from ml.training.explain import contributions
from ml.training.export import export
from ml.training.fitted import Fitted
from ml.training.later import later_days
from ml.training.rungs import fitted, tuned, unfitted
from ml.training.window import split

SAMPLE = 10_000  # rows on which the exported graph is proved equal to the fitted rung


def train(table: Path, model: Path, rung: str, seed: int, threads: int) -> None:
    """Write a rung's ONNX graph and what is known of it into the folder `model`."""
    whole = from_parquet(table)
    fit, estimator = split(whole)["fit"], unfitted(rung, seed, threads)
    with Bar(f"fitting {rung}", total=framing().time.folds + 1) as bar:
        later = later_days(estimator, fit, after_fold=lambda *_: bar.advance())
        fitted(estimator, fit)
    slope, base = later.slope(), float(fit.outcomes.mean())
    calibration = towards(slope, base)
    made = Fitted(
        rung=rung,
        loss=later.loss(slope),
        calibration=(calibration.slope, calibration.intercept),
        base=base,
        days=np.unique(fit.days).tolist(),
        rows=len(fit.outcomes),
        parameters=tuned(rung).get("parameters", {}),
        tuned_on=tuned(rung).get("days", []),
        contributions=contributions(estimator, _sample(fit)),
        later=later.by_day(slope),
    )
    made.write(model, export(estimator, calibration, _sample(whole)))
    say("train", f"{rung}: {framing().task.metric} {made.loss:.4f} on later days, fitted on {made.rows:,} rows")


def _sample(rows: Rows) -> Rows:
    """Return evenly spaced rows."""
    chosen = np.zeros(len(rows.outcomes), dtype=bool)
    chosen[np.linspace(0, len(chosen) - 1, min(SAMPLE, len(chosen))).astype(int)] = True
    return rows.where(chosen)
