"""The verbs, in the order of the flow. Each loads only what it needs, and says what it read and wrote."""

import shutil
import signal
import sys
from collections.abc import Callable
from datetime import date, datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ml.errors import ContractError
from ml.progress import Bar, say
from ml.settings import settings

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
pipeline = typer.Typer(
    help="Run ingest to gate, or batch scoring, as one Kubeflow pipeline; or compile it.", no_args_is_help=True
)


def day(meaning: str) -> Any:
    """Return the option of a day, as 2026-11-21."""
    return typer.Option(formats=["%Y-%m-%d"], help=meaning)


Mode = Literal["shadow", "canary", "ab", "holdout"]
Day = Annotated[datetime | None, day("A day; by default from project.toml.")]


FirstDay = Annotated[datetime, day("First day of records to score.")]
LastDay = Annotated[datetime, day("Last day.")]
AsOf = Annotated[
    str | None, typer.Option(help="Use nothing that became known later, as 2026-11-21T08:00:00Z; by default now.")
]
Scorer = Annotated[str | None, typer.Option(help="Digest of the bundle, or its beginning; by default the champion.")]
Partitions = Annotated[str | None, typer.Option("--from", help="Folder of partitions; by default the lake.")]


def verb(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a command that ends a broken contract with one line and exit code 1, an interruption with 130."""

    @wraps(function)
    def run(*words: Any, **options: Any) -> None:
        try:
            function(*words, **options)
        except ContractError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(1) from None
        except OSError as error:  # a disk that is full, a file that may not be read
            print(f"error: files: {error}. See [store] and [data] in project.toml", file=sys.stderr)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            print("interrupted: what this verb started has been ended", file=sys.stderr)
            raise typer.Exit(130) from None

    return run


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


def window(since: datetime | None, until: datetime | None) -> tuple[date, date]:
    """Return the training window: what was asked for, else what project.toml says."""
    data = settings().data
    return since.date() if since else data.since, until.date() if until else data.until


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


@app.command()
@verb
def release(
    bundle: Annotated[
        str | None, typer.Argument(help="Digest of the bundle, or its beginning; by default the newest.")
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option("--as", help="Not champion, but beside it: who answers some, or a shadow.")
    ] = None,
    percent: Annotated[float, typer.Option(min=0, max=100, help="Of the entities, with --as.")] = 100,
    name: Annotated[str | None, typer.Option(help="The experiment's, with --as; to grow one, name it again.")] = None,
    end: Annotated[bool, typer.Option("--end", help="End the experiment; the champion answers everybody.")] = False,
) -> None:
    """Name a bundle as the champion of this environment, or try one out beside it."""
    from ml.delivery import release

    store = settings().store_url
    if end:
        release.end(store)
    elif mode:
        release.try_out(store, bundle, mode, percent, name)
    else:
        release.release(store, bundle)


@app.command()
@verb
def materialize(
    until: Annotated[datetime | None, day("Last day, UTC; by default the history's last.")] = None,
) -> None:
    """Fill the online store with what the lake's history knows at the end of a day."""
    from ml.features.materialize import materialize

    materialize(settings().lake_url, settings().online_url, until.date() if until else None)


@app.command()
@verb
def score(
    since: FirstDay,
    until: LastDay,
    as_of: AsOf = None,
    bundle: Scorer = None,
    records: Partitions = None,
) -> None:
    """Score partitions into Parquet files and the online store, from where the service answers; go on where it was."""
    from ml.scoring import run

    conf, asked = settings(), run.asked(since.date(), until.date(), as_of, bundle, records)
    planned = run.plan(asked)
    run.score(planned, conf.store_url, conf.scores_url)
    run.publish(planned, conf.scores_url, conf.online_url, conf.score.ttl_hours)


@app.command()
@verb
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; by default from project.toml.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; by default from project.toml.")] = None,
) -> None:
    """Answer predictions over HTTP until stopped."""
    from ml.serving.server import serve

    serve(host or settings().serve.host, port or settings().serve.port)


@app.command()
@verb
def stream(
    once: Annotated[bool, typer.Option("--once", help="End when all that is there now has been read.")] = False,
) -> None:
    """Fold events into the online store as they happen, from Kafka or from files, until stopped."""
    from ml.stream.run import stream

    stream(once)


@app.command()
@verb
def replay(
    since: Annotated[datetime, day("First day of records to send.")],
    until: Annotated[datetime, day("Last day.")],
    url: Annotated[str | None, typer.Option(help="The service; by default where `ml serve` listens.")] = None,
    outcomes_url: Annotated[str | None, typer.Option(help="Where it takes outcomes; by default as well.")] = None,
    single: Annotated[bool, typer.Option("--single", help="Send records one by one, not in bulk.")] = False,
) -> None:
    """Send later real records through the running service and, as simulated time passes, their outcomes."""
    from ml.replay import replay

    serve = settings().serve
    service, outcomes = (f"http://{serve.host}:{port}" for port in (serve.port, serve.outcomes_port))
    lake = settings().lake_url
    replay(lake, since.date(), until.date(), url or service, outcomes_url or outcomes, single)


@app.command()
@verb
def label() -> None:
    """Join what was predicted with what came of it; write labels, coverage and delays."""
    with Bar("joining predictions and outcomes"):
        from ml.labelling.label import label

        label()


@app.command()
@verb
def experiment(
    name: Annotated[str | None, typer.Option(help="The experiment; by default the one in the release.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="Of one that the release forgot.")] = None,
    listen: Annotated[bool, typer.Option("--listen", help="Answer GET /v1/verdict?name=… until stopped.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8080,
) -> None:
    """Judge an experiment on what was served: exit code 0 pass, 10 fail, 11 inconclusive; any other is no verdict."""
    if listen:
        from ml.experiment.listen import listen as answer

        return answer(host, port)
    from ml.contract.verdict import EXIT
    from ml.experiment.experiment import experiment

    raise typer.Exit(EXIT[experiment(name, mode).verdict])


@app.command()
@verb
def compact() -> None:
    """Put the event log's segments together, those of each hour that is over."""
    from ml.eventlog.upkeep import compact

    url = settings().events_url
    say("compact", f"put {compact(url):,} segments of {url} together")


@app.command()
@verb
def erase(
    field: Annotated[str, typer.Argument(help="A field of the record that names an entity.")],
    value: Annotated[str, typer.Argument(help="Whose records are to be forgotten.")],
) -> None:
    """Take out of the event log and the labels what is known of one entity."""
    from ml.eventlog.upkeep import requests_of, take_out
    from ml.labelling.label import forget

    gone = requests_of(settings().events_url, field, value)
    days = forget(gone)
    take_out(settings().events_url, gone)
    say("erase", f"took out {len(gone):,} predictions, what came of them, and their labels of {days} days")


@app.command()
@verb
def monitor(
    until: Annotated[datetime | None, day("Last day to look at; by default the newest.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where the HTML report goes; by default below the store.")] = None,
) -> None:
    """Compare what was served with what was trained on; write the report and the verdict."""
    with Bar("looking at what was served"):
        from ml.labelling.label import label
        from ml.monitoring.monitor import monitor

        label()  # else old labels would be judged
        monitor(until.date() if until else None, report)


@app.command()
@verb
def skew(
    sample: Annotated[int, typer.Option(min=1, help="Served requests to compare.")] = 1000,
) -> None:
    """Send served requests through the offline path: exit code 0 where every feature is the same, 10 where not."""
    from ml.contract.verdict import EXIT
    from ml.monitoring.skew import skew

    raise typer.Exit(EXIT["fail" if skew(sample).differing else "pass"])


@app.command()
@verb
def retrain(
    force: Annotated[bool, typer.Option("--force", help="Train even when nothing asks for it.")] = False,
) -> None:
    """Train on the newest matured days when the last verdict asks for it."""
    from ml.monitoring.retraining import asked

    new_window = asked(force)
    if new_window is None:
        return
    say("retrain", f"training on {new_window[0]} to {new_window[1]}")
    from ml.pipeline.run import run
    from ml.pipeline.summary import show

    show(run(*new_window))


@pipeline.command("run")
@verb
def pipeline_run(since: Day = None, until: Day = None) -> None:
    """Run the pipeline on this machine, with Kubeflow's local runner."""
    from ml.pipeline.run import run
    from ml.pipeline.summary import show

    show(run(*window(since, until)))


@pipeline.command("score")
@verb
def pipeline_score(
    since: FirstDay,
    until: LastDay,
    as_of: AsOf = None,
    bundle: Scorer = None,
    records: Partitions = None,
    shards: Annotated[int, typer.Option(min=1, help="How many parts of the days are scored side by side.")] = 2,
) -> None:
    """Do what `ml score` does as a Kubeflow pipeline, on this machine: its days in shards, then one switch."""
    from ml.pipeline.run import score
    from ml.scoring.run import asked

    score(asked(since.date(), until.date(), as_of, bundle, records), shards)


@pipeline.command("compile")
@verb
def pipeline_compile(
    target: Annotated[Path, typer.Argument(help="The file to write.")] = Path("pipeline.yaml"),
    scoring: Annotated[bool, typer.Option("--scoring", help="The pipeline of `ml pipeline score`.")] = False,
) -> None:
    """Write a pipeline as IR YAML; the image of its steps, by digest, is its parameter `image`."""
    from ml.pipeline import scoring_steps, steps

    steps.compile(scoring_steps.scoring if scoring else steps.training, target)
    say("pipeline", f"wrote {target}")


app.add_typer(pipeline, name="pipeline")


@app.command()
@verb
def demo() -> None:
    """Do all of it on this machine, the days after training in simulated time, and show what came out."""
    from ml.demo import demo

    demo()


def main() -> None:
    """Run the command line; being told to terminate interrupts a verb as Ctrl-C does, so that it can clear up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()


if __name__ == "__main__":
    main()
