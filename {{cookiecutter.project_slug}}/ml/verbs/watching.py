"""From predictions back to training: labels, experiments, the log's upkeep, the monitor, and what it asks for."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from ml.progress import Bar, say
from ml.settings import settings
from ml.verbs.pipeline import run_pipeline
from ml.verbs.verb import Mode, day, verb

app = typer.Typer()


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
def profile() -> None:
    """Profile what was predicted, by bundle, arm and hour, from the event log's closed segments."""
    from ml.monitoring.profiling import profile

    conf = settings()
    with Bar("profiling what was predicted"):
        done = profile(conf.events_url, conf.profiles_url, conf.monitor.keep_days)
    say(
        "profile",
        f"profiled {done.rows:,} new predictions in {done.parts:,} parts, put {done.merged:,} hours and days together, "
        f"dropped {done.dropped:,}; profiles in {conf.profiles_url}",
    )


@app.command()
@verb
def monitor(
    until: Annotated[datetime | None, day("Last day to look at; by default the newest.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where the HTML report goes; by default below the store.")] = None,
    listen: Annotated[
        bool, typer.Option("--listen", help="Answer GET /metrics with the last verdict instead.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 9401,
) -> None:
    """Compare what was served with what was trained on, and judge what is tried out; write reports and verdicts."""
    if listen:
        from ml.monitoring.listen import listen as answer

        return answer(host, port, settings().reports_url)
    with Bar("looking at what was served"):
        from ml.experiment.experiment import judge_running
        from ml.labelling.label import label
        from ml.monitoring.monitor import monitor
        from ml.monitoring.skew import sampled

        label()  # else old labels would be judged
        judge_running()  # what `ml promote` goes by, wherever the monitor runs by itself
        monitor(until.date() if until else None, report)
        sampled()


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
    force: Annotated[
        bool, typer.Option("--force", help="Train whatever asks for it or speaks against it; and go on after a stop.")
    ] = False,
    on: Annotated[
        Literal["here", "kubeflow", "github"],
        typer.Option("--on", help="This machine, the cluster that project.toml names, or the workflow train.yml."),
    ] = "here",
) -> None:
    """Train on the newest matured days when the policy says so: exit code 10 where a person is asked instead."""
    from ml.contract.verdict import EXIT
    from ml.github.api import needed
    from ml.monitoring.retraining import ask

    github = needed("to start train.yml") if on == "github" else None  # before it counts as an attempt
    if on == "kubeflow":  # likewise
        from ml.pipeline import asked, reach

        reach.refuse_unreachable(asked.training(None, image=reach.image(), on_cluster=True))
    decision = ask(force, on)
    if decision.decision == "stop":
        raise typer.Exit(EXIT["fail"])
    if decision.window is None:
        return
    say("retrain", "training on {} to {}".format(*decision.window))
    if github:
        since, until = map(str, decision.window)
        return github.dispatch("train.yml", {"since": since, "until": until})
    run_pipeline(on, *decision.window)
