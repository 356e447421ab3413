"""What carries the project elsewhere: attested, in images, deployed; and whether a place is fit for it."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from ml.errors import ContractError
from ml.settings import settings
from ml.verbs.verb import verb, within

app = typer.Typer()

Role = Literal["training", "serving", "stream"]


@app.command()
@verb
def attest(
    bundle: Annotated[
        str | None, typer.Argument(help="Digest of the bundle, or its beginning; by default the newest.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="An image instead, as repository@sha256:…")] = None,
    statement: Annotated[
        Path | None, typer.Option(help="A folder for the files that actions/attest reads, where a workflow signs.")
    ] = None,
    environment: Annotated[
        str | None, typer.Option(help="Whose verdict on the bundle; by default this process's environment.")
    ] = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="Make the key by which others are signed.")] = False,
) -> None:
    """Sign the gate's verdict on a bundle, or where an image comes from, for all who deploy it."""
    from ml.attestation import attest, signing

    if new_key:
        signing.new_key(settings().signing_key, settings().public_key)
    elif image:
        attest.attest_image(image)
    else:
        with within(environment):
            attest.attest(bundle, statement)


@app.command()
@verb
def verify(
    environment: Annotated[str | None, typer.Argument(help="By default this process's.")] = None,
) -> None:
    """Prove that all which a release names is what was judged, built and signed; without a network against a key."""
    from ml.attestation.verify import verify

    with within(environment):
        verify(settings().release.environment)


@app.command()
@verb
def image(
    role: Annotated[Role | None, typer.Argument(help="Whose image: its libraries and no others are in it.")] = None,
    tag: Annotated[str | None, typer.Option(help="By default the commit.")] = None,
    push: Annotated[
        bool, typer.Option("--push", help=r"Push it to \[image] registry, and say its digest there.")
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Build nothing; name every image that a mirror needs.")
    ] = False,
) -> None:
    """Build the image of a role with docker, podman or buildah, whichever answers first."""
    if listed:
        from ml.delivery.mirror import images

        return print(*images(), sep="\n")
    from ml.delivery.image import build

    if role is None:
        raise ContractError("image", "no role was named", "Say `ml image serving`, stream or training")
    build(role, tag, push)


@app.command()
@verb
def deploy(
    environment: Annotated[str | None, typer.Argument(help="Where its release file is to run.")] = None,
    down: Annotated[bool, typer.Option("--down", help="End all that was deployed there.")] = False,
    changed: Annotated[
        str | None, typer.Option(help="Deploy nothing; list the environments that changed since this commit, as JSON.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Deploy it although its last deployment there was taken back.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Deploy nothing; lint the charts, and render what each environment would get."),
    ] = False,
) -> None:
    """Bring a release to its environment: proved, asked, watched, and taken back where something speaks against it."""
    from ml.delivery import deploy as delivery
    from ml.delivery.changed import changed as touched

    if changed:
        return print(json.dumps(touched(changed)))
    if dry_run:
        from ml.delivery.charts import dry_run as rendered

        raise typer.Exit(1 if rendered(environment) else 0)
    if environment is None:
        raise ContractError("deploy", "no environment was named", "Say `ml deploy staging`")
    if down:
        delivery.down(environment)
    elif not delivery.deploy(environment, again):
        raise typer.Exit(10)


@app.command()
@verb
def doctor(
    place: Annotated[Literal["laptop", "cluster", "github"], typer.Argument(help="What is examined.")] = "laptop",
    context: Annotated[str | None, typer.Option(help="The cluster's context; by default the current one.")] = None,
    namespace: Annotated[str | None, typer.Option(help="In it; by default called after the project.")] = None,
) -> None:
    """Say what is wrong with this machine, a cluster or the repository on GitHub, and how it is mended."""
    from ml.doctor.doctor import doctor

    raise typer.Exit(1 if doctor(place, context, namespace) else 0)
