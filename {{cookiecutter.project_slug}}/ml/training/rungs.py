"""Rungs of the ladder as training uses them: with the parameters that tuning found, fitted the same way each time."""

import tomllib
from pathlib import Path
from typing import Any

from sklearn.base import ClassifierMixin
from threadpoolctl import threadpool_limits

import ml.problem
from ml.errors import ContractError
from ml.features.rows import Rows
from ml.problem.models import ladder

TUNED = Path(ml.problem.__file__).parent / "tuned.toml"  # written by `ml tune`, committed like code


def unfitted(rung: str, seed: int, threads: int) -> ClassifierMixin:
    """Return a rung as it would be trained; raises ContractError where the ladder has no such rung or parameter."""
    rungs = ladder(seed, threads)
    if rung not in rungs:
        raise ContractError(
            "ladder", f"there is no rung {rung!r}, only {', '.join(rungs)}", "Edit [train] rungs in project.toml"
        )
    try:
        return rungs[rung].set_params(**tuned(rung).get("parameters", {}))
    except ValueError as error:  # a parameter that the rung no longer has
        reason = str(error).partition(". Valid")[0]
        raise ContractError("ladder", f"{TUNED.name}: {rung}: {reason}", f"Run `ml tune {rung}` again") from error


def tuned(rung: str) -> dict[str, Any]:
    """Return what tuning found for a rung, its `parameters` among it; nothing where it was not tuned."""
    tables = tomllib.loads(TUNED.read_text()) if TUNED.exists() else {}
    return dict(tables.get(rung, {}))


def fitted(estimator: ClassifierMixin, rows: Rows) -> ClassifierMixin:
    """Fit an estimator; threads that share a sum would add it up in another order each time."""
    with threadpool_limits(1, user_api="blas"):
        return estimator.fit(rows.frame, rows.outcomes)
