"""What makes a function a verb, and the options that several verbs have."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from functools import wraps
from typing import Annotated, Any, Literal

import typer

from ml.errors import ContractError
from ml.progress import complain
from ml.settings import settings


def day(meaning: str) -> Any:
    """Return the option of a day, as 2026-11-21."""
    return typer.Option(formats=["%Y-%m-%d"], help=meaning)


Mode = Literal["shadow", "canary", "ab", "holdout"]
Day = Annotated[datetime | None, day("A day; by default from project.toml.")]
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
            complain(f"error: {error}")
            raise typer.Exit(1) from None
        except OSError as error:  # a disk that is full, a file that may not be read
            complain(f"error: files: {error}. See [store] and [data] in project.toml")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            complain("interrupted: what this verb started has been ended")
            raise typer.Exit(130) from None

    return run


def window(since: datetime | None, until: datetime | None) -> tuple[date, date]:
    """Return the training window: what was asked for, else what project.toml says."""
    data = settings().data
    return since.date() if since else data.since, until.date() if until else data.until


@contextmanager
def within(environment: str | None) -> Iterator[None]:
    """Let another environment be this process's for the block, where one is named."""
    from ml.cluster.ways import variables

    with variables(**({"ML_RELEASE_ENVIRONMENT": environment} if environment else {})):
        yield
