"""A small cluster on this machine."""

from typing import Annotated, Literal

import typer

from ml.verbs.verb import verb

app = typer.Typer(help="A small cluster on this machine: from nothing to a prediction.", no_args_is_help=True)

Maker = Annotated[
    Literal["kind", "minikube"] | None, typer.Option("--with", help="What makes the cluster; by default what is there.")
]


@app.command("up")
@verb
def up(
    maker: Maker = None,
    profile: Annotated[
        Literal["none", "lite", "full"],
        typer.Option(help="Beside the service: nothing; Redis, an object store and Prometheus; Kubeflow as well."),
    ] = "lite",
    kubernetes: Annotated[
        str | None, typer.Option(help="kind's node image, or minikube's version; by default their own.")
    ] = None,
    registry_port: Annotated[int, typer.Option(min=1, max=65535, help="Of 127.0.0.1, for kind.")] = 5001,
) -> None:
    """Make the cluster, its registry and its namespace; what is there already is not made twice."""
    from ml.cluster.cluster import up

    up(maker, profile, kubernetes, registry_port)


@app.command("deploy")
@verb
def deploy() -> None:
    """Build and push the images, bring the released bundles, install the chart, and wait until it serves."""
    from ml.cluster.deploy import deploy

    deploy()


@app.command("smoke")
@verb
def smoke() -> None:
    """Ask the champion's golden record through the Service, and compare the score with the bundle's own."""
    from ml.cluster.deploy import smoke

    smoke()


@app.command("rehearse")
@verb
def rehearse() -> None:
    """Roll under load, drift and roll back; each has to come out as it should."""
    from ml.cluster.rehearse import rehearse

    rehearse()


@app.command("down")
@verb
def down(maker: Maker = None) -> None:
    """End the cluster and its registry."""
    from ml.cluster.cluster import down

    down(maker)
