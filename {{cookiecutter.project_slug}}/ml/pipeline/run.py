"""Runs the pipelines on this machine, with Kubeflow's local runner, and leaves nothing behind but what they made."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from kfp import local

from ml.pipeline import asked, containers, scoring_steps, steps, training
from ml.pipeline.leftovers import nothing_left
from ml.pipeline.steplog import own_lines, reason
from ml.scoring.run import Asked
from ml.settings import ROOT, settings
from ml.store import files

KEEP = 3  # runs whose artifacts stay on this machine


class Run(NamedTuple):
    """What a run leaves: the bundle's digest and, where it lies on this machine, the page of the data checks."""

    bundle: str
    data_docs: Path | None = None


def run(since: date, until: date, image: str | None = None) -> Run:
    """Train on this machine, and be judged against the champion of this process's environment.

    Each step is a process of this environment or, where an image is named, a container of it. Raises ContractError with
    a failed step's own sentence, and when another pipeline is running.
    """
    with _here("training", steps.VERBS, len(steps.VERBS) - 1 + len(settings().train.rungs), image) as runs:
        pipeline = containers.placed(training.training, image) if image else training.training
        ran = pipeline(**asked.training((since, until), image=image or asked.HERE))
        return Run(str(ran.outputs["bundle"]), _of(runs, "training")[0] / "validate/docs/index.html")


def score(what: Asked, shards: int) -> None:
    """Score on this machine what was asked for, its days in so many shards; raises ContractError as `run` does."""
    with _here("scoring", scoring_steps.VERBS, len(scoring_steps.VERBS) - 1 + shards):
        scoring_steps.scoring(**asked.scoring(what, shards))


@contextlib.contextmanager
def _here(name: str, verbs: Sequence[str], count: int, image: str | None = None) -> Iterator[Path]:
    """Let the block run a pipeline of `count` steps on this machine; yields the folder of runs.

    What steps hand to each other lies below the store or, where that is no directory, among the temporary files.
    """
    store = settings().store_url
    beside = store if "://" not in store else f"{tempfile.gettempdir()}/ml"
    runs = files.local(files.join(beside, "pipeline"), "pipeline runs")
    # Steps run what `python3` is on PATH, and find the code here whatever the current folder is.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    here = containers.runner() if image else contextlib.nullcontext(local.SubprocessRunner(use_venv=False))
    with files.alone(runs, "pipeline"), here as runner, own_lines(tuple(verbs), count) as log, nothing_left(runs):
        local.init(runner, pipeline_root=str(runs))
        try:
            yield runs
        except RuntimeError as error:
            raise reason(log.getvalue(), runs / "failed.log") from error
        for earlier in _of(runs, name)[KEEP:]:
            shutil.rmtree(earlier)


def _of(runs: Path, name: str) -> list[Path]:
    """Return the runs of a pipeline, the newest first; their names end with the time."""
    return sorted(runs.glob(f"{name}-*"), reverse=True)
