"""All of it at once: to show what there is, to prove the gate on a bad model, and the alerts on faults."""

from datetime import datetime
from typing import Annotated

import typer

from ml.errors import ContractError
from ml.verbs.verb import Day, day, verb, window

app = typer.Typer()


@app.command()
@verb
def prove(
    since: Day = None,
    until: Day = None,
    comment: Annotated[
        int | None, typer.Option(help="Of the pull request that the result is told to, as one comment.")
    ] = None,
) -> None:
    """Train a model that the gate has to pass and one that it has to reject: exit code 0 if it does, 10 if not."""
    from ml.contract.verdict import EXIT
    from ml.prove import prove

    raise typer.Exit(EXIT["pass" if prove(*window(since, until), comment) else "fail"])


@app.command()
@verb
def drill(
    faults: Annotated[list[str] | None, typer.Argument(help="Which; by default all, see docs/drill.md.")] = None,
    bundle: Annotated[
        str | None, typer.Option(help="Digest of the bundle, or its beginning; by default the newest.")
    ] = None,
    season: Annotated[
        bool, typer.Option("--season", help="No fault: let it live to the end of the lake, trained again when asked.")
    ] = False,
    since: Annotated[
        datetime | None, day("First of the season's days; by default the one after the bundle's training.")
    ] = None,
) -> None:
    """Inject faults into simulated days: who notices, how soon? Exit code 0 if each raises its alert, 10 if not."""
    from ml.contract.verdict import EXIT
    from ml.drill.drill import drill

    if (season and faults) or (since and not season):
        raise ContractError("drill", "a season has no faults, and only a season begins on a day", "See --help")
    if season:
        from ml.drill.season import season as live

        live(bundle, since.date() if since else None)
        return
    raise typer.Exit(EXIT["pass" if drill(faults or [], bundle) else "fail"])


@app.command()
@verb
def demo() -> None:
    """Do all of it on this machine, the days after training in simulated time, and show what came out."""
    from ml.demo import demo

    demo()
