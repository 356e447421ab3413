"""Runs the pipelines on this machine, with Kubeflow's local runner, and leaves nothing behind but what they made."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from kfp import local

from ml.contract import release
from ml.pipeline import scoring_steps, steps
from ml.pipeline.leftovers import nothing_left
from ml.pipeline.steplog import own_lines, reason
from ml.scoring.run import Asked
from ml.settings import ROOT, settings
from ml.store import files

KEEP = 3  # runs whose artifacts stay on this machine


class Run(NamedTuple):
    """What a run on this machine leaves: the bundle's digest and the page of the data checks."""

    bundle: str
    data_docs: Path


def run(since: date, until: date) -> Run:
    """Train on this machine, and be judged against the champion of this process's environment.

    Raises ContractError with a failed step's own sentence, and when another pipeline is running.
    """
    conf = settings()
    with _here("training", steps.VERBS, len(steps.VERBS) - 1 + len(conf.train.rungs)) as runs:
        ran = steps.training(
            image="python",
            lake=conf.lake_url,
            since=str(since),
            until=str(until),
            store=conf.store_url,
            champion=release.champion() or "",
            rungs=conf.train.rungs,
            seed=conf.train.seed,
            threads=conf.train.threads,
        )
        return Run(str(ran.outputs["bundle"]), _of(runs, "training")[0] / "validate/docs/index.html")


def score(asked: Asked, shards: int) -> None:
    """Score on this machine what was asked for, its days in so many shards; raises ContractError as `run` does."""
    conf = settings()
    with _here("scoring", scoring_steps.VERBS, len(scoring_steps.VERBS) - 1 + shards):
        scoring_steps.scoring(
            image="python",
            bundle=asked.bundle,
            records=asked.records,
            lake=asked.lake,
            store=conf.store_url,
            scores=asked.scores,
            online=conf.online_url,
            since=str(asked.since),
            until=str(asked.until),
            as_of=asked.as_of.isoformat() if asked.as_of else "",
            chunk_rows=asked.chunk_rows,
            ttl_hours=conf.score.ttl_hours,
            shards=[f"{number}/{shards}" for number in range(shards)],
        )


@contextlib.contextmanager
def _here(name: str, verbs: Sequence[str], count: int) -> Iterator[Path]:
    """Let the block run a pipeline of `count` steps on this machine; yields the folder of runs."""
    runs = files.local(files.join(settings().store_url, "pipeline"), "pipeline runs")
    # Steps run what `python3` is on PATH, and find the code here whatever the current folder is.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(runs))
    with files.alone(runs, "pipeline"), own_lines(tuple(verbs), count) as log, nothing_left(runs):
        try:
            yield runs
        except RuntimeError as error:
            raise reason(log.getvalue(), runs / "failed.log") from error
        for earlier in _of(runs, name)[KEEP:]:
            shutil.rmtree(earlier)


def _of(runs: Path, name: str) -> list[Path]:
    """Return the runs of a pipeline, the newest first; their names end with the time."""
    return sorted(runs.glob(f"{name}-*"), reverse=True)
