"""Step 5: choose the simplest rung within the margin of the best, and judge every rung on the test weeks.

The choice looks at the folds alone. Rungs are judged as the exported graphs that would serve.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ml.contract.framing import framing
from ml.contract.scorer import Scorer
from ml.features.rows import from_parquet
from ml.progress import say, track
from ml.statistics.metrics import estimates
from ml.store import files
from ml.training import fitted
from ml.training.explain import permutation_importance
from ml.training.window import split


def evaluate(table: Path, models: list[Path], evaluation: Path, seed: int) -> None:
    """Write the choice, every rung's metrics on the test weeks, and what the chosen one's scores come from."""
    rungs, test = fitted.read(models), split(from_parquet(table))["test"]
    chosen = choose({each.rung: each.loss for each, _ in rungs}, framing().task.margin)
    judged = {
        each.rung: estimates(test.outcomes, Scorer(graph).score(test.inputs), test.days, framing().cost.costs)
        for each, graph in track(rungs, "evaluating", total=len(rungs))
    }
    made, graph = next((each, graph) for each, graph in rungs if each.rung == chosen)
    found = {
        "chosen": chosen,
        "rungs": [each.rung for each, _ in rungs],
        "ladder": {
            each.rung: {
                "loss": each.loss,
                "calibration": each.calibration,
                "parameters": each.parameters,
                "tuned_on": each.tuned_on,
                "test": {name: estimate._asdict() for name, estimate in judged[each.rung].items()},
            }
            for each, _ in rungs
        },
        "fit": {key: value for key, value in asdict(made).items() if key in ("days", "rows", "base")},
        "test": {"days": np.unique(test.days).tolist(), "rows": len(test.outcomes)},
        "importance": permutation_importance(Scorer(graph), test, seed),
        "contributions": made.contributions,
    }
    files.write(str(evaluation), json.dumps(found, indent=1).encode())
    say(
        "evaluate",
        f"chose {chosen}; on {len(test.outcomes):,} rows of {len(np.unique(test.days))} test days "
        f"log loss {judged[chosen]['log_loss']}, ROC-AUC {judged[chosen]['roc_auc']}",
    )


def choose(losses: dict[str, float], margin: float) -> str:
    """Return the first rung, simplest first, whose loss is within `margin` of the lowest."""
    best = min(losses.values())
    return next(name for name, loss in losses.items() if loss <= best + margin)
