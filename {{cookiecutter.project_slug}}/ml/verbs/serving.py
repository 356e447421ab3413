"""From a release to predictions: bundles fetched, served online, in batch and by stream."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ml.errors import ContractError
from ml.settings import settings
from ml.verbs.verb import AsOf, Partitions, Scorer, day, verb

app = typer.Typer()


@app.command()
@verb
def fetch(to: Annotated[Path, typer.Option(help="A folder, which is a store of its own from then on.")]) -> None:
    """Copy the bundles of the release from the store to a folder, and prove them; go on where it stopped."""
    from ml.delivery.fetch import fetch

    fetch(settings().store_url, to)


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
    since: Annotated[datetime | None, day("First day of records to score.")] = None,
    until: Annotated[datetime | None, day("Last day.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="So many days from today on, instead of both.")] = None,
    as_of: AsOf = None,
    bundle: Scorer = None,
    records: Partitions = None,
) -> None:
    """Score partitions into Parquet files and the online store, from where the service answers; go on where it was."""
    from ml.contract.framing import ahead
    from ml.scoring import run

    if days and not since and not until:
        first, last = ahead(days)
    elif since and until and not days:
        first, last = since.date(), until.date()
    else:
        raise ContractError("scores", "no days are named, or twice", "Give --since and --until, or --days alone")
    conf, asked = settings(), run.asked(first, last, as_of, bundle, records)
    planned = run.plan(asked)
    run.score_and_publish(planned, conf.store_url, conf.scores_url, conf.online_url, conf.score.ttl_hours)


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
def smoke(
    url: Annotated[str | None, typer.Argument(help="The service; by default where `ml serve` listens.")] = None,
    at: Annotated[str | None, typer.Option(help="Simulated time to tell it, as 2026-11-21T08:00:00Z.")] = None,
) -> None:
    """Ask a running service a golden record of the release, and compare its score with the bundle's own."""
    from ml.delivery.smoke import smoke

    serve = settings().serve
    smoke(url or f"http://{serve.host}:{serve.port}", at)


@app.command()
@verb
def load(
    url: Annotated[str, typer.Argument(help="The service.")],
    record: Annotated[str, typer.Argument(help="The record to send, as JSON.")],
    seconds: Annotated[float, typer.Option(min=1, help="How long.")] = 60,
    rate: Annotated[float, typer.Option(min=0.1, help="Requests a second, whether or not they are answered.")] = 20,
) -> None:
    """Ask a running service at a steady rate, and fail where one answer is lost."""
    from ml.cluster.load import load

    load(url, record, seconds, rate)


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
