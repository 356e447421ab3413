"""Runs the pipeline on this machine, with Kubeflow's local runner, and leaves nothing behind but what it made."""

import os
import shutil
import sys
from datetime import date
from pathlib import Path
from typing import NamedTuple

from kfp import local

from ml.contract import release
from ml.pipeline.leftovers import nothing_left
from ml.pipeline.steplog import own_lines, reason
from ml.pipeline.steps import VERBS, training
from ml.settings import ROOT, settings
from ml.store import files

KEEP = 3  # runs whose artifacts stay on this machine


class Run(NamedTuple):
    """What a run on this machine leaves: the bundle's digest and the page of the data checks."""

    bundle: str
    data_docs: Path


def run(since: date, until: date) -> Run:
    """Run the pipeline on this machine, against the champion of this process's environment.

    Raises ContractError with a failed step's own sentence, and when another pipeline is running.
    """
    conf = settings()
    runs = files.local(files.join(conf.store_url, "pipeline"), "pipeline runs")
    # Steps run what `python3` is on PATH, and find the code here whatever the current folder is.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(runs))
    steps = len(VERBS) - 1 + len(conf.train.rungs)
    with files.alone(runs, "pipeline"), own_lines(VERBS, steps) as log, nothing_left(runs):
        try:
            ran = training(
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
        except RuntimeError as error:
            raise reason(log.getvalue(), runs / "failed.log") from error
        newest, *older = sorted(runs.glob("training-*"), reverse=True)  # their names end with the time
        for earlier in older[KEEP - 1 :]:
            shutil.rmtree(earlier)
        return Run(str(ran.outputs["bundle"]), newest / "validate/docs/index.html")
