"""From raw records to the gate's verdict, step by step; each leaves a file for the next."""

import shutil
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ml.errors import ContractError
from ml.progress import Bar, say
from ml.settings import settings
from ml.verbs.verb import Day, day, verb, window

app = typer.Typer()


def flow(name: str, made_by: str | None = None) -> Path:
    """Return where a step's output lies when verbs are run alone; one that must be there names who makes it."""
    from ml.store import files

    path = files.local(files.join(settings().store_url, "flow"), "steps run alone") / name
    if made_by and not path.exists():
        raise ContractError("flow", f"{path} is not there", f"Run `ml {made_by}` first")
    return path


def anew(*made_from_it: str) -> None:
    """Remove what earlier runs made from what is about to be made: no step may join old with new."""
    for name in made_from_it:
        path = flow(name)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@app.command()
@verb
def ingest(since: Day = None, until: Day = None) -> None:
    """Read the window's partitions, day by day, into one table of raw records."""
    from ml.training.ingest import ingest

    anew("validation.json", "table.parquet", "models", "evaluation.json")
    ingest(settings().lake_url, *window(since, until), flow("records.parquet"))


@app.command()
@verb
def validate(since: Day = None, until: Day = None) -> None:
    """Check the records against the schema; stop and say why when they break it."""
    records = flow("records.parquet", made_by="ingest")
    with Bar("checking the records"):
        from ml.training.validate import validate

        validate(records, *window(since, until), flow("validation.json"), flow("data_docs"))


@app.command()
@verb
def features() -> None:
    """Compute every feature of every record; stop when one knows the outcome."""
    records, _ = flow("records.parquet", made_by="ingest"), flow("validation.json", made_by="validate")
    anew("models", "evaluation.json")
    with Bar("computing features"):
        from ml.training.features import features

        features(records, flow("table.parquet"), flow("leakage.json"))


@app.command()
@verb
def train() -> None:
    """Fit the rungs of the ladder."""
    table = flow("table.parquet", made_by="features")
    from ml.training.train import train

    anew("models", "evaluation.json")
    conf = settings().train
    for rung in conf.rungs:
        train(table, flow("models"), rung, conf.seed, conf.threads)


@app.command()
@verb
def tune(
    rung: Annotated[str, typer.Argument(help="The rung of the ladder whose parameters are searched.")],
    trials: Annotated[int, typer.Option(min=1, help="Trials in all, those of earlier runs included.")] = 40,
    seconds: Annotated[float | None, typer.Option(min=1, help="Stop after so long, whatever is still to try.")] = None,
) -> None:
    """Search a rung's parameters on later days and write them into ml/problem/tuned.toml; go on where it stopped."""
    table = flow("table.parquet", made_by="features")
    from ml.store import files
    from ml.training.tune import tune

    conf = settings()
    studies = files.local(files.join(conf.store_url, "studies"), "studies")
    tune(table, rung, conf.train.seed, conf.train.threads, trials, seconds, studies)


@app.command()
@verb
def evaluate() -> None:
    """Choose the simplest rung within the margin, and judge all on the test weeks, with intervals."""
    table, models = flow("table.parquet", made_by="features"), flow("models", made_by="train")
    from ml.training.evaluate import evaluate

    evaluate(table, [models], flow("evaluation.json"), settings().train.seed)


@app.command()
@verb
def register() -> None:
    """Seal model, schema, reference and golden records as a bundle."""
    made = [("records.parquet", "ingest"), ("validation.json", "validate"), ("table.parquet", "features")]
    made += [("leakage.json", "features"), ("models", "train"), ("evaluation.json", "evaluate")]
    records, validation, table, leakage, models, evaluation = (flow(name, made_by) for name, made_by in made)
    with Bar("sealing the bundle"):
        from ml.training.register import Made, register

        register(Made(records, validation, table, leakage, [models], evaluation), settings().store_url)


@app.command()
@verb
def gate(
    challenger: Annotated[
        str | None, typer.Option(help="Digest of the bundle to judge, or its beginning; by default the newest.")
    ] = None,
    champion: Annotated[
        str | None, typer.Option(help="What it is judged against; by default what is released, else the simplest rung.")
    ] = None,
    until: Annotated[datetime | None, day("Last day that decides; by default the last either was tested on.")] = None,
    better: Annotated[
        bool, typer.Option("--better", help="Claim that the challenger is better, not only no worse.")
    ] = False,
) -> None:
    """Judge a bundle against the champion: exit code 0 pass, 10 fail, 11 inconclusive; any other is no verdict."""
    from ml.contract import bundle, release
    from ml.contract.verdict import EXIT
    from ml.gate.gate import gate
    from ml.pipeline.summary import next_step, show_verdict

    store = settings().store_url
    old = bundle.resolve(store, champion) if champion else release.champion()
    new, day = bundle.resolve(store, challenger), until.date() if until else None
    verdict = gate(settings().lake_url, store, old, new, day, better)
    show_verdict(verdict, every=True)
    say("verdict", f"{verdict.answer}: {next_step(verdict)}")
    raise typer.Exit(EXIT[verdict.answer])
