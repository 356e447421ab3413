"""Searches a rung's parameters on later days, and the only place that knows Optuna; the test weeks are not looked at.

What it finds is a file that is committed like code. A budget in seconds finds more on a faster machine; a training
reads the file, so that it is the same everywhere.
"""

import hashlib
import logging
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ml.contract.framing import fingerprint, framing
from ml.errors import ContractError
from ml.features.rows import Rows, from_parquet
from ml.models.space import Space, Whole
from ml.problem import models
from ml.problem.models import SPACES
from ml.progress import Bar, say
from ml.store import files
from ml.training.later import Later, later_days
from ml.training.rungs import TUNED, unfitted
from ml.training.window import split

HEAD = "# Found by `ml tune` on later days; read by `ml train`. Commit it like code, remove a table to forget it.\n"
EQUALLY_GOOD = 3  # trials that are never pruned, so that there is a median to prune by


def tune(table: Path, rung: str, seed: int, threads: int, trials: int, seconds: float | None, studies: Path) -> None:
    """Search until `trials` are done in all, or `seconds` are over, and write what was best into tuned.toml.

    Run again, it goes on where it stopped: a study is named by rung, data, ladder, framing and seed. What the rung has
    now is tried first, so that nothing worse is ever written.
    """
    if rung not in SPACES:
        known = ", ".join(SPACES)
        raise ContractError("ladder", f"{rung} has nothing to tune, only {known} have", "Edit ml/problem/models.py")
    fit = split(from_parquet(table))["fit"]
    study, now = _study(rung, table, seed, studies), _now(rung, seed, threads)
    asked = trials - len(_done(study))
    if all(trial.params != now for trial in _done(study)):
        study.enqueue_trial(now)
        asked = max(asked, 1)
    with Bar(f"tuning {rung}", total=max(asked, 0)) as bar:

        def objective(trial: optuna.Trial) -> float:
            return _loss(trial, rung, fit, seed, threads)

        if asked > 0:
            study.optimize(objective, n_trials=asked, timeout=seconds, callbacks=[lambda *_: bar.advance()])
    done = _done(study)
    pruned = sum(trial.state == TrialState.PRUNED for trial in done)
    days = np.unique(fit.days)
    found = {
        "loss": study.best_value,
        "untuned": done[0].value,
        "trials": len(done),
        "days": [str(days[0]), str(days[-1])],
        "parameters": dict(sorted(study.best_params.items())),
    }
    write(rung, found)
    say(
        "tune",
        f"{rung}: {framing().task.metric} {study.best_value:.4f} on later days, {done[0].value:.4f} before; "
        f"{len(done)} trials, {pruned} of them pruned; wrote {TUNED.name}",
    )


def _study(rung: str, table: Path, seed: int, studies: Path) -> optuna.Study:
    """Return the rung's study of this data, ladder, framing and seed, with all trials of earlier runs."""
    optuna.logging.set_verbosity(logging.ERROR)
    code = Path(models.__file__).read_bytes()
    same = hashlib.sha256(table.read_bytes() + code + f"{fingerprint()} {seed}".encode())
    storage = JournalStorage(JournalFileBackend(str(studies / f"{rung}-{same.hexdigest()[:12]}.log")))
    study = optuna.create_study(storage=storage, study_name=rung, load_if_exists=True, direction="minimize")
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))  # else it would draw the same again
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=EQUALLY_GOOD)
    return study


def _done(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that came to an end, oldest first; one that was interrupted never did."""
    return list(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


def _now(rung: str, seed: int, threads: int) -> dict[str, Any]:
    """Return the searched parameters as the rung has them."""
    present = unfitted(rung, seed, threads).get_params()
    if unknown := [name for name in SPACES[rung] if name not in present]:
        raise ContractError("ladder", f"{rung} has no parameter {unknown[0]!r}", "Edit SPACES in ml/problem/models.py")
    return {name: present[name] for name in SPACES[rung]}


def _loss(trial: optuna.Trial, rung: str, fit: Rows, seed: int, threads: int) -> float:
    estimator = unfitted(rung, seed, threads).set_params(**_drawn(trial, SPACES[rung]))

    def stop_early(fold: int, so_far: Later) -> None:
        trial.report(so_far.loss(so_far.slope()), fold)
        if trial.should_prune():
            raise optuna.TrialPruned

    later = later_days(estimator, fit, after_fold=stop_early)
    return later.loss(later.slope())


def _drawn(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    return {
        name: trial.suggest_int(name, each.low, each.high, log=each.log)
        if isinstance(each, Whole)
        else trial.suggest_float(name, each.low, each.high, log=each.log)
        for name, each in space.items()
    }


def write(rung: str, found: dict[str, Any]) -> None:
    """Put a rung's table into tuned.toml; the tables of other rungs stay."""
    tables = tomllib.loads(TUNED.read_text()) if TUNED.exists() else {}
    tables[rung] = found
    lines = [HEAD]
    for name, table in sorted(tables.items()):
        parameters = table.pop("parameters", {})
        lines += [f"[{name}]", *_toml(table), "", f"[{name}.parameters]", *_toml(parameters), ""]
    files.write(str(TUNED), "\n".join(lines).encode())


def _toml(table: dict[str, Any]) -> list[str]:
    return [f"{key} = {_plain(value)}" for key, value in table.items()]


def _plain(value: Any) -> str:
    return str(value).replace("'", '"')
