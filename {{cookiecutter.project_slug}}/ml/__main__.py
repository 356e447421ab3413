"""The verbs, in the order of the flow. Each loads only what it needs, and says what it read and wrote."""

import signal

import typer

from ml.verbs import cluster, delivery, demo, pipeline, promotion, serving, training, watching

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for stretch in (training, promotion, serving, watching, delivery, demo):
    app.add_typer(stretch.app)
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(cluster.app, name="cluster")


def main() -> None:
    """Run the command line; being told to terminate interrupts a verb as Ctrl-C does, so that it can clear up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()


if __name__ == "__main__":
    main()
