"""The steps of the training pipeline: thin, around plain functions, which the image and this environment hold."""

import functools
from typing import Any, Dict, List, NamedTuple  # noqa: UP035 - kfp reads Dict and List

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

# Nothing is installed when a step starts.
step = functools.partial(
    dsl.component, base_image="python:3.12-slim", packages_to_install=[], install_kfp_package=False
)

VERBS = ("plan", "ingest", "validate", "features", "train", "evaluate", "register", "gate")


@step
def plan(
    lake: str,
    since: str,
    until: str,
    as_of: str,
    image: str,
    run: str,
) -> NamedTuple("Planned", [("since", str), ("until", str), ("data", str)]):  # type: ignore[valid-type]
    """Name the window and the state of the lake."""
    from ml.training.plan import plan

    first, last, data = plan(lake, since, until, as_of)
    if "@sha256:" not in image:
        data += f" of {run}"  # what a tag names may change, so that no later run takes it for the same
    return (str(first), str(last), data)


@step
def ingest(lake: str, since: str, until: str, data: str, records: Output[Dataset]) -> None:
    """Read the window's partitions; `data` names their state, by which Kubeflow knows that they are others."""
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
def train(
    rung: str,
    seed: int,
    threads: int,
    trainjob: Dict[str, Any],  # noqa: UP006
    table: Input[Dataset],
    model: Output[Model],
) -> None:
    """Fit one rung: in this pod, or by a TrainJob where it is among those that are trained so."""
    from pathlib import Path

    if rung in trainjob.get("rungs", []):
        from ml.pipeline import trainer

        trainer.train(Path(table.path), Path(model.path), rung, seed, threads, trainjob)
    else:
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
def gate(
    lake: str,
    store: str,
    environment: str,
    waivers: str,
    champion: str,
    challenger: str,
    since: str,
    until: str,
    run: str,
    page: Output[HTML],
) -> str:
    """Judge the bundle against the champion, or against the simplest rung where there is none; return the answer.

    `waivers` is the text of the environment's file, which no image holds. What came of the window is remembered:
    who asked for the run may be elsewhere.
    """
    import os
    import tempfile
    from pathlib import Path

    told = Path(tempfile.mkdtemp())
    (told / environment).mkdir()
    (told / environment / "waivers.toml").write_text(waivers)
    os.environ |= {"ML_RELEASE_FOLDER": str(told), "ML_RELEASE_ENVIRONMENT": environment}
    from ml.contract import ledger, trained
    from ml.contract.verdict import PAGE, folder
    from ml.gate.gate import gate
    from ml.store import files

    verdict = gate(lake, store, champion or None, challenger)
    home = folder(store, verdict.challenger.bundle, verdict.champion.bundle)
    Path(page.path).write_bytes(files.read(files.join(home, PAGE)))
    ledger.once(store, "runs", run, {"bundle": challenger, "champion": verdict.champion.bundle})
    trained.remember(store, since, until, run, trained.Trained(challenger, verdict.champion.bundle, environment))
    return verdict.answer
