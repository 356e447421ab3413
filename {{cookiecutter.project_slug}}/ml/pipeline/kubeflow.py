"""Runs the pipelines on Kubeflow: now, and whenever it is time."""

import contextlib
import io
from datetime import date
from typing import Any

from ml.contract import ledger
from ml.errors import ContractError
from ml.pipeline import asked, reach, scoring_steps, training
from ml.pipeline.awaiting import awaited
from ml.pipeline.run import Run
from ml.pipeline.session import session
from ml.pipeline.versions import called, experiment, version
from ml.progress import say
from ml.scoring.run import Asked
from ml.settings import settings

AS_OF = "[[CurrentTime.2006-01-02T15:04:05Z]]"  # Kubeflow puts in the moment at which it makes a scheduled run


def run(since: date, until: date, image: str | None = None) -> Run | None:
    """Train on Kubeflow and wait; returns None where the store is a volume, which this machine cannot read.

    Raises ContractError with a failed step's own sentence, and for what a cluster cannot reach.
    """
    ran = _ran(training.training, asked.training((since, until), image=reach.image(image), on_cluster=True))
    if "://" not in settings().store_url:
        return None
    made = ledger.read(settings().store_url, "runs", ran)
    if made is None:
        raise ContractError("pipeline", f"the store knows of no run {ran}", "See [store] url in project.toml")
    return Run(made["bundle"])


def score(what: Asked, shards: int) -> None:
    """Score on Kubeflow what was asked for, and wait; raises ContractError as `run` does."""
    _ran(scoring_steps.scoring, asked.scoring(what, shards, reach.image()))


def schedule(cron: str) -> None:
    """Let Kubeflow train whenever it is time, on what has matured by then: one run at once, none made up for later.

    A schedule of the same name that differs in anything is replaced. `cron` has six fields, seconds first. Raises
    ContractError for another number of them, and as `run` does.
    """
    if len(cron.split()) != 6:
        raise ContractError("kubeflow", f"{cron!r} has not six fields", 'Begin with the seconds: "0 0 3 * * *"')
    name = f"{settings().project.slug}-training"
    parameters = asked.training(None, AS_OF, reach.image(), on_cluster=True)
    reach.refuse_unreachable(parameters)
    with session() as client, contextlib.redirect_stdout(io.StringIO()):  # the client prints links
        its, home = version(client, training.training), experiment(client)
        there = client.list_recurring_runs(experiment_id=home, filter=called(name)).recurring_runs or []
        same = [each for each in there if _asks(each) == (cron, its.id, parameters, 1, True, "ENABLE")]
        if not same:
            client.create_recurring_run(
                home, name, cron_expression=cron, max_concurrency=1, no_catchup=True,
                params=parameters, pipeline_id=its.pipeline, version_id=its.id,
            )  # fmt: skip
        for other in (each for each in there if each not in same[:1]):  # there is one at any time
            client.delete_recurring_run(other.recurring_run_id)
    did = "stays as it was" if same else "takes the place of another" if there else "is new"
    say("schedule", f"{name} {did}: {cron}, version {its.name}")


def _asks(recurring: Any) -> tuple[Any, ...]:
    """Return what a schedule of Kubeflow's asks for."""
    cron = recurring.trigger.cron_schedule if recurring.trigger else None
    reference, config = recurring.pipeline_version_reference, recurring.runtime_config
    return (
        cron and cron.cron,
        reference and reference.pipeline_version_id,
        config and config.parameters,
        int(recurring.max_concurrency or 0),
        recurring.no_catchup,
        recurring.mode,
    )


def _ran(pipeline: Any, parameters: dict[str, Any]) -> str:
    """Run a pipeline to its end and return the run's id."""
    reach.refuse_unreachable(parameters)
    with session() as client:
        with contextlib.redirect_stdout(io.StringIO()):  # the client prints links
            its, home = version(client, pipeline), experiment(client)
            title = f"{pipeline.name} {parameters['since']} to {parameters['until']}"
            begun = client.run_pipeline(home, title, params=parameters, pipeline_id=its.pipeline, version_id=its.id)
        page = f"{settings().kubeflow.host.rstrip('/')}/#/runs/details/{begun.run_id}"
        say("run", f"{page}, version {its.name}")
        awaited(client, begun.run_id, page)
    return str(begun.run_id)
