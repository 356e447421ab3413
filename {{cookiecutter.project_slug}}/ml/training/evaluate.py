"""Step 5: judge every rung on the test weeks, as the exported graph that would serve, with day-bootstrap intervals."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ml.contract.framing import framing
from ml.contract.scorer import Scorer
from ml.progress import say, track
from ml.statistics.metrics import estimates
from ml.store import files
from ml.training import choice
from ml.training.window import Part, load, split


def evaluate(table: Path, model: Path, evaluation: Path, seed: int) -> None:
    """Write every rung's metrics on the test weeks, and the chosen one's cost at the threshold, as JSON."""
    made = choice.read(model)
    test = split(load(table))["test"]
    scores = {rung: Scorer(choice.graph(model, rung).read_bytes()).score(test.inputs) for rung in made.validation}
    judged = {
        rung: estimates(test.outcomes, scores[rung], test.days, seed=seed)
        for rung in track(scores, "evaluating", total=len(scores))
    }
    found = {
        **asdict(made),
        "test": {rung: {name: each._asdict() for name, each in metrics.items()} for rung, metrics in judged.items()},
        "decisions": decisions(test, scores[made.chosen]),
    }
    files.write(str(evaluation), json.dumps(found, indent=1).encode())
    auc, loss = judged[made.chosen]["roc_auc"], judged[made.chosen]["log_loss"]
    say(
        "evaluate",
        f"{made.chosen} on {len(test.outcomes):,} rows of {len(np.unique(test.days))} test days: "
        f"log loss {loss.value:.4f} ({loss.low:.4f} to {loss.high:.4f}), "
        f"ROC-AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})",
    )


def decisions(test: Part, scores: Any) -> dict[str, float]:
    """Return the threshold from the costs of errors, and what deciding by it costs per thousand decisions."""
    cost = framing().cost
    acted = scores >= cost.threshold
    positive = test.outcomes == 1
    alarms, misses = (acted & ~positive).mean(), (~acted & positive).mean()
    never, always = positive.mean() * cost.miss, (~positive).mean() * cost.false_alarm
    return {
        "threshold": cost.threshold,
        "acted_share": float(acted.mean()),
        "recall": float(acted[positive].mean()),
        "precision": float(positive[acted].mean()) if acted.any() else 0.0,
        "cost_per_thousand": float(1000 * (alarms * cost.false_alarm + misses * cost.miss)),
        "cost_per_thousand_without_model": float(1000 * min(never, always)),
    }
