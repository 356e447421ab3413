"""The training flow as a Kubeflow pipeline, and the only place that knows kfp: thin steps around plain functions.

The same pipeline object is run on this machine by kfp's local runner and compiled for a cluster; there the image
of the steps, by digest, is a parameter.
"""

import functools
import os
import shutil
import sys
from datetime import date
from pathlib import Path
from typing import NamedTuple

from kfp import compiler, dsl, local
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from ml.settings import ROOT, settings
from ml.store import files
from ml.training.leftovers import nothing_left
from ml.training.steplog import own_lines, reason

# The code is in the image, and here in the environment: nothing is installed when a step starts.
step = functools.partial(
    dsl.component, base_image="python:3.12-slim", packages_to_install=[], install_kfp_package=False
)

KEEP = 3  # runs whose artifacts stay on this machine
VERBS = ("ingest", "validate", "features", "train", "evaluate", "register")


@step
def ingest(lake: str, since: str, until: str, records: Output[Dataset]) -> None:
    """Read the window's partitions."""
    from datetime import date
    from pathlib import Path

    from ml.training.ingest import ingest

    ingest(lake, date.fromisoformat(since), date.fromisoformat(until), Path(records.path))


@step
def validate(since: str, until: str, records: Input[Dataset], report: Output[Artifact], docs: Output[Artifact]) -> None:
    """Stop the flow when data breaks the schema."""
    from datetime import date
    from pathlib import Path

    from ml.training.validate import validate

    validate(
        Path(records.path),
        date.fromisoformat(since),
        date.fromisoformat(until),
        Path(report.path),
        Path(docs.path),
    )


@step
def features(records: Input[Dataset], report: Input[Artifact], table: Output[Dataset]) -> None:
    """Compute every feature; waits for the data checks through their report."""
    from pathlib import Path

    from ml.training.features import features

    features(Path(records.path), Path(table.path))


@step
def train(seed: int, threads: int, table: Input[Dataset], model: Output[Model]) -> None:
    """Fit the ladder and choose a rung."""
    from pathlib import Path

    from ml.training.train import train

    train(Path(table.path), Path(model.path), seed, threads)


@step
def evaluate(seed: int, table: Input[Dataset], model: Input[Model], evaluation: Output[Metrics]) -> None:
    """Judge every rung on the test weeks."""
    from pathlib import Path

    from ml.training.evaluate import evaluate

    evaluate(Path(table.path), Path(model.path), Path(evaluation.path), seed)


@step
def register(
    store: str,
    records: Input[Dataset],
    table: Input[Dataset],
    model: Input[Model],
    evaluation: Input[Metrics],
    report: Input[Artifact],
) -> str:
    """Seal the bundle and return its digest."""
    from pathlib import Path

    from ml.training.register import Made, register

    made = Made(*(Path(each.path) for each in (records, table, model, evaluation, report)))
    return register(made, store)


@dsl.pipeline(name="training")
def training(image: str, lake: str, since: str, until: str, store: str, seed: int, threads: int) -> str:
    """From raw partitions to a registered bundle, whose digest it returns."""
    ingested = ingest(lake=lake, since=since, until=until)
    records = ingested.outputs["records"]
    validated = validate(since=since, until=until, records=records)
    report = validated.outputs["report"]
    featured = features(records=records, report=report)
    table = featured.outputs["table"]
    trained = train(seed=seed, threads=threads, table=table)
    model = trained.outputs["model"]
    evaluated = evaluate(seed=seed, table=table, model=model)
    evaluation = evaluated.outputs["evaluation"]
    registered = register(store=store, records=records, table=table, model=model, evaluation=evaluation, report=report)
    for task in (ingested, validated, featured, trained, evaluated, registered):
        task.set_caching_options(False).set_container_image(image)
    return registered.output  # type: ignore[no-any-return]


class Run(NamedTuple):
    """What a run on this machine leaves: the bundle's digest and the page of its data checks."""

    bundle: str
    data_docs: Path


def run(since: date, until: date) -> Run:
    """Run the pipeline on this machine.

    Raises ContractError with a failed step's own sentence, and when another pipeline is running.
    """
    conf = settings()
    runs = files.local(files.join(conf.store_url, "pipeline"), "pipeline runs")
    # Steps run what `python3` is on PATH, and find the code here whatever the current folder is.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(runs))
    with files.alone(runs, "pipeline"), own_lines(VERBS) as log, nothing_left(runs):
        try:
            ran = training(
                image="python",
                lake=conf.lake_url,
                since=str(since),
                until=str(until),
                store=conf.store_url,
                seed=conf.train.seed,
                threads=conf.train.threads,
            )
        except RuntimeError as error:
            raise reason(log.getvalue(), runs / "failed.log") from error
        newest, *older = sorted(runs.glob("training-*"), reverse=True)  # their names end with the time
        for run in older[KEEP - 1 :]:
            shutil.rmtree(run)
        return Run(str(ran.output), newest / "validate/docs/index.html")


def compile(target: Path) -> None:
    """Write the pipeline as IR YAML for Kubeflow; its parameter `image` takes the steps' image by digest."""
    target.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(training, str(target))
