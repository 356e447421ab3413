"""The steps as Kubeflow pipelines, here or on a cluster."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from ml.progress import say
from ml.settings import settings
from ml.verbs.verb import AsOf, Day, Partitions, Scorer, day, verb, window

app = typer.Typer(
    help="Run ingest to gate, or batch scoring, as one Kubeflow pipeline: here, on a cluster, by schedule.",
    no_args_is_help=True,
)

FirstDay = Annotated[datetime, day("First day of records to score.")]
LastDay = Annotated[datetime, day("Last day.")]
Where = Annotated[
    Literal["here", "kubeflow"], typer.Option("--on", help="This machine, or the cluster that project.toml names.")
]


def run_pipeline(on: str, since: date, until: date, image: str | None = None, evidence: Path | None = None) -> None:
    """Train and show what came out; who waits for a cluster gets the verdict as exit code, as of `ml gate`."""
    from ml.contract.verdict import EXIT
    from ml.pipeline import summary

    if on == "here":
        from ml.pipeline.run import run
    else:
        from ml.pipeline.kubeflow import run  # type: ignore[assignment]
    ran = run(since, until, image)
    if ran is None:
        return
    answer = summary.show(ran)
    if answer and evidence:
        summary.keep(ran, evidence)
    if on == "kubeflow":
        raise typer.Exit(EXIT[answer] if answer else 1)


@app.command("run")
@verb
def run(
    since: Day = None,
    until: Day = None,
    on: Where = "here",
    image: Annotated[
        str | None, typer.Option(help="Of the role training: here, run each step in a container of it, with Docker.")
    ] = None,
    evidence: Annotated[
        Path | None, typer.Option(help="A folder that gets verdict, model card and data checks.")
    ] = None,
) -> None:
    """Run the pipeline; on Kubeflow, wait for it: exit code 0 pass, 10 fail, 11 inconclusive."""
    run_pipeline(on, *window(since, until), image, evidence)


@app.command("score")
@verb
def score(
    since: FirstDay,
    until: LastDay,
    as_of: AsOf = None,
    bundle: Scorer = None,
    records: Partitions = None,
    shards: Annotated[int, typer.Option(min=1, help="How many parts of the days are scored side by side.")] = 2,
    on: Where = "here",
) -> None:
    """Do what `ml score` does as a Kubeflow pipeline: its days in shards, then one switch."""
    from ml.scoring.run import asked

    if on == "here":
        from ml.pipeline.run import score
    else:
        from ml.pipeline.kubeflow import score
    score(asked(since.date(), until.date(), as_of, bundle, records), shards)


@app.command("schedule")
@verb
def schedule(
    cron: Annotated[str, typer.Option(help='When, six fields, UTC: "0 0 3 * * *" is every night at three.')],
) -> None:
    """Let Kubeflow train whenever it is time, on the newest matured days; in place of what was scheduled before."""
    from ml.pipeline import kubeflow

    kubeflow.schedule(cron)


@app.command("compile")
@verb
def compile(
    target: Annotated[Path, typer.Argument(help="The file to write.")] = Path("pipeline.yaml"),
    scoring: Annotated[bool, typer.Option("--scoring", help="The pipeline of `ml pipeline score`.")] = False,
    manifest: Annotated[bool, typer.Option("--manifest", help="As manifests for `kubectl apply`.")] = False,
) -> None:
    """Write a pipeline as IR YAML; the image of its steps, by digest, is its parameter `image`."""
    from ml.pipeline import scoring_steps, training
    from ml.pipeline.compiled import compiled, names
    from ml.store import files

    what = scoring_steps.scoring if scoring else training.training
    text = compiled(what, settings().kubeflow.volume, names(what) if manifest else None)
    files.write(str(target), text.encode())
    say("pipeline", f"wrote {target}")
