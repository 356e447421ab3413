"""Step 4: fit the ladder, simplest rung first, and choose the simplest within the margin of the best.

Rungs are fitted on the oldest days and compared on the days after them; the newest days, the test weeks, are
not looked at here.
"""

import shutil
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ml.contract.framing import framing
from ml.problem.models import ladder
from ml.progress import say, track
from ml.statistics.metrics import losses
from ml.training.choice import Choice, graph
from ml.training.export import export
from ml.training.leakage import refuse_leaks
from ml.training.window import Part, load, split

SAMPLE = 10_000  # rows on which the exported graph is proved equal to the fitted rung


def train(table: Path, model: Path, seed: int, threads: int) -> None:
    """Write one ONNX graph a rung, and which was chosen, into the folder `model`; refuses leaks first."""
    whole = load(table)
    refuse_leaks(whole)
    parts = split(whole)
    fit, validation = parts["fit"], parts["validation"]
    task = framing().task
    shutil.rmtree(model, ignore_errors=True)  # never rungs of two trainings side by side
    model.mkdir(parents=True)
    rungs = ladder(seed, threads)
    compared: dict[str, float] = {}
    for name, rung in track(rungs.items(), "fitting rungs", total=len(rungs)):
        with threadpool_limits(1, user_api="blas"):  # threads that share a sum add it up in another order each time
            rung.fit(fit.frame, fit.outcomes)
        scores = rung.predict_proba(validation.frame)[:, 1]
        compared[name] = float(losses(validation.outcomes, scores)[task.metric].mean())
        graph(model, name).write_bytes(export(rung, _sample(whole)))
    chosen = choose(compared, task.margin)
    days = {name: [str(part.days.min()), str(part.days.max())] for name, part in parts.items()}
    Choice(chosen, compared, days, {name: len(part.outcomes) for name, part in parts.items()}).write(model)
    listed = ", ".join(f"{name} {loss:.4f}" for name, loss in compared.items())
    say(
        "train",
        f"fitted on {len(fit.outcomes):,} rows; {task.metric} on later days: {listed}; chose {chosen}",
    )


def choose(losses: dict[str, float], margin: float) -> str:
    """Return the first rung, simplest first, whose loss is within `margin` of the lowest."""
    best = min(losses.values())
    return next(name for name, loss in losses.items() if loss <= best + margin)


def _sample(whole: Part) -> Part:
    """Return evenly spaced rows of the whole window."""
    rows = np.zeros(len(whole.outcomes), dtype=bool)
    rows[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(int)] = True
    return whole.where(rows)
