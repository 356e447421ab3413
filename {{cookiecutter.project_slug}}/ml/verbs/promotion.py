"""What an environment runs: named, promoted by evidence, reverted; and the bundles that there are."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ml.settings import settings
from ml.verbs.verb import Mode, verb, within


class Alone(TyperGroup):
    """A group whose first command is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the first command's name where no command and no help is asked for."""
        named = bool(args) and (args[0] in self.commands or args[0] in self.get_help_option_names(ctx))
        return super().parse_args(ctx, args if named else [next(iter(self.commands)), *args])


app = typer.Typer()
release = typer.Typer(
    cls=Alone, help="Name what an environment runs (`ml release` alone is `ml release name`), or go back."
)
bundles = typer.Typer(
    help="Look at the store's bundles: what exists, where it runs, what may go.", no_args_is_help=True
)
app.add_typer(release, name="release")

Environment = Annotated[str | None, typer.Argument(help="By default this process's.")]
PullRequest = Annotated[
    bool,
    typer.Option("--pull-request", help="Propose it, and leave the file here as it is; without a token, on a branch."),
]


@release.command("name")
@verb
def name(
    bundle: Annotated[
        str | None, typer.Argument(help="Digest of the bundle, or its beginning; by default the newest.")
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option("--as", help="Not champion, but beside it: who answers some, or a shadow.")
    ] = None,
    percent: Annotated[
        float | None, typer.Option(min=0, max=100, help="Of the entities, with --as; by default all, of a shadow.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The experiment's, with --as.")] = None,
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


@release.command("status")
@verb
def status() -> None:
    """Say what runs in each environment, what is proposed, and what is not yet in the last stage."""
    from ml.promotion.status import status

    status()


@release.command("revert")
@verb
def revert(environment: Environment = None, pull_request: PullRequest = False) -> None:
    """Go back: restore the very bytes of the release file before its last change."""
    from ml.promotion.revert import revert

    with within(environment):
        revert(pull_request)


@app.command()
@verb
def promote(
    environment: Annotated[str, typer.Argument(help=r"One of \[promotion] stages.")],
    bundle: Annotated[
        str | None,
        typer.Option(help="Digest, or its beginning; by default the newest, or the stage before's champion."),
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option(help="Another image, as serving=<repository>@sha256:…; may be repeated.")
    ] = None,
    pull_request: PullRequest = False,
    evidence: Annotated[
        Path | None,
        typer.Option(help="Move nothing yet: attest the verdict of that step, into a folder for a workflow."),
    ] = None,
) -> None:
    """Take an environment one step on, if the evidence allows it: exit code 0 moved, 10 refused, 11 nothing to do."""
    from ml.promotion.promote import promote

    named = [each.partition("=") for each in image or ()]
    with within(environment):
        raise typer.Exit(promote(bundle, {role: where for role, _, where in named}, pull_request, evidence))


@bundles.command("list")
@verb
def list_() -> None:
    """List every bundle of the store, and who needs it."""
    from ml.promotion.registry import list_

    list_(settings().store_url)


@bundles.command("show")
@verb
def show(
    bundle: Annotated[str | None, typer.Argument(help="Digest, or its beginning; by default the newest.")] = None,
) -> None:
    """Say what a bundle is, who needs it, and what the gate said of it."""
    from ml.promotion.registry import show

    show(settings().store_url, bundle)


@bundles.command("diff")
@verb
def diff(
    one: Annotated[str, typer.Argument(help="Digest of a bundle, or its beginning.")],
    other: Annotated[str, typer.Argument(help="And of another.")],
) -> None:
    """Say in what two bundles differ."""
    from ml.promotion.registry import diff

    diff(settings().store_url, one, other)


@bundles.command("prune")
@verb
def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; otherwise they are only listed.")] = False,
) -> None:
    """Remove bundles that no release, no deployment, no proposal and no way back names."""
    from ml.promotion.registry import prune

    prune(settings().store_url, yes)


app.add_typer(bundles, name="bundles")
