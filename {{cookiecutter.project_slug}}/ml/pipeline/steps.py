"""The pipeline: thin steps around plain functions, run on this machine or compiled for a cluster by the same object.

On a cluster the image of the steps, by digest, is a parameter. Rungs of the ladder train side by side.
"""

import functools
from pathlib import Path
from typing import Any, List, NamedTuple  # noqa: UP035 - kfp reads List

from kfp import compiler, dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

# The code is in the image, and here in the environment: nothing is installed when a step starts.
step = functools.partial(
    dsl.component, base_image="python:3.12-slim", packages_to_install=[], install_kfp_package=False
)

VERBS = ("ingest", "validate", "features", "train", "evaluate", "register", "gate")


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
def features(
    records: Input[Dataset], report: Input[Artifact], table: Output[Dataset], leakage: Output[Artifact]
) -> None:
    """Compute every feature, and stop the flow when one leaks; waits for the data checks through their report."""
    from pathlib import Path

    from ml.training.features import features

    features(Path(records.path), Path(table.path), Path(leakage.path))


@step
def train(rung: str, seed: int, threads: int, table: Input[Dataset], model: Output[Model]) -> None:
    """Fit one rung."""
    from pathlib import Path

    from ml.training.train import train

    train(Path(table.path), Path(model.path), rung, seed, threads)


@step
def evaluate(seed: int, table: Input[Dataset], models: Input[List[Model]], evaluation: Output[Metrics]) -> None:  # noqa: UP006
    """Choose a rung, and judge all of them on the test weeks."""
    from pathlib import Path

    from ml.training.evaluate import evaluate

    evaluate(Path(table.path), [Path(model.path) for model in models], Path(evaluation.path), seed)


@step
def register(
    store: str,
    records: Input[Dataset],
    report: Input[Artifact],
    table: Input[Dataset],
    leakage: Input[Artifact],
    models: Input[List[Model]],  # noqa: UP006
    evaluation: Input[Metrics],
) -> str:
    """Seal the bundle and return its digest."""
    from pathlib import Path

    from ml.training.register import Made, register

    records_path, report_path, table_path, leakage_path, evaluation_path = (
        Path(each.path) for each in (records, report, table, leakage, evaluation)
    )
    graphs = [Path(model.path) for model in models]
    return register(Made(records_path, report_path, table_path, leakage_path, graphs, evaluation_path), store)


@step
def gate(lake: str, store: str, champion: str, challenger: str, page: Output[HTML]) -> str:
    """Judge the bundle against the champion, or against the simplest rung where there is none; return the answer."""
    from pathlib import Path

    from ml.contract.verdict import PAGE, folder
    from ml.gate.gate import gate
    from ml.store import files

    verdict = gate(lake, store, champion or None, challenger)
    home = folder(store, verdict.challenger.bundle, verdict.champion.bundle)
    Path(page.path).write_bytes(files.read(files.join(home, PAGE)))
    return verdict.answer


class Outcome(NamedTuple):
    """What the pipeline returns: the bundle's digest and the gate's answer."""

    bundle: str
    answer: str


@dsl.pipeline(name="training")
def training(
    image: str,
    lake: str,
    since: str,
    until: str,
    store: str,
    champion: str,
    rungs: List[str],  # noqa: UP006
    seed: int,
    threads: int,
) -> Outcome:
    """From raw partitions to a registered bundle and the gate's answer; `champion` may be empty."""

    def placed(task: dsl.PipelineTask) -> dsl.PipelineTask:
        return task.set_caching_options(False).set_container_image(image)

    records = placed(ingest(lake=lake, since=since, until=until)).outputs["records"]
    report = placed(validate(since=since, until=until, records=records)).outputs["report"]
    featured = placed(features(records=records, report=report)).outputs
    table, leakage = featured["table"], featured["leakage"]
    with dsl.ParallelFor(rungs) as rung:
        trained = placed(train(rung=rung, seed=seed, threads=threads, table=table))
    models = functools.partial(dsl.Collected, trained.outputs["model"])  # kfp marks each as it is used
    evaluation = placed(evaluate(seed=seed, table=table, models=models())).outputs["evaluation"]
    made = {"records": records, "report": report, "table": table, "leakage": leakage, "evaluation": evaluation}
    registered = placed(register(store=store, models=models(), **made)).output
    judged = placed(gate(lake=lake, store=store, champion=champion, challenger=registered))
    return Outcome(bundle=registered, answer=judged.outputs["Output"])


def compile(pipeline: Any, target: Path) -> None:
    """Write a pipeline as IR YAML for Kubeflow; its parameter `image` takes the steps' image by digest."""
    target.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(pipeline, str(target))
