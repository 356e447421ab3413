"""What a verb shows while it works, a bar once two seconds are over, and the one line it ends with."""

import logging
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ml import logs

Item = TypeVar("Item")

PATIENCE = 2.0  # seconds of silence before the bar appears


class Bar:
    """A progress bar on standard error; it appears after two seconds, and on a terminal only."""

    def __init__(self, doing: str, total: int | None = None, *, own_stdout: bool = True) -> None:
        console = Console(stderr=True, force_terminal=os.environ.get("ML_PROGRESS") == "always" or None)
        counted = () if total is None else (MofNCompleteColumn(),)
        columns = (TextColumn("{task.description}"), BarColumn(), *counted, TimeElapsedColumn())
        self._bar = Progress(
            *columns, console=console, transient=True, redirect_stdout=own_stdout, redirect_stderr=False
        )
        self._task = self._bar.add_task(doing, total=total)
        self._timer = threading.Timer(PATIENCE, self._bar.start)
        self._timer.daemon = True

    def __enter__(self) -> "Bar":
        if self._bar.console.is_terminal:
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._bar.live.is_started:  # else it would print an empty line
            self._bar.stop()

    def advance(self) -> None:
        """One more is done."""
        self._bar.advance(self._task)

    def print(self, line: str, out: TextIO) -> None:
        """Print a line: above the bar while one is shown, else to `out`."""
        if self._bar.live.is_started:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=out, flush=True)


def track(items: Iterable[Item], doing: str, total: int | None = None) -> Iterator[Item]:
    """Yield `items` and show how far it is; without `total`, only that it goes on."""
    with Bar(doing, total) as bar:
        for item in items:
            yield item
            bar.advance()


def say(verb: str, did: str) -> None:
    """Print the one line that a verb ends with: what it read, what it wrote."""
    if logs.json_lines:
        logging.getLogger(f"ml.{verb}").info(did)
    else:
        print(f"{verb:<9} {did}", file=sys.stdout, flush=True)


def complain(line: str) -> None:
    """Print the one line that a verb fails with."""
    if logs.json_lines:
        logging.getLogger("ml").error(line)
    else:
        print(line, file=sys.stderr)


WIDTH = 110  # of a table that goes to a file or a pipe, at least


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; without a head, one of names and what they mean."""
    shown = Table(*head, title=title, title_justify="left", show_header=bool(head))
    for row in rows:
        shown.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(WIDTH, console.width))
    console.print(shown, markup=False, highlight=False)
