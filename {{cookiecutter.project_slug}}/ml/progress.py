"""What a verb shows while it works, a bar once two seconds are over, and the one line it ends with."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")

PATIENCE = 2.0  # seconds of silence before the bar appears


def track(items: Iterable[Item], doing: str, total: int) -> Iterator[Item]:
    """Yield `items`; once that has taken two seconds, show how far it is, on a terminal only."""
    began = time.monotonic()
    console = Console(stderr=True, force_terminal=True if os.environ.get("ML_PROGRESS") == "always" else None)
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task, shown = bar.add_task(doing, total=total), False
    try:
        for item in items:
            if not shown and time.monotonic() - began > PATIENCE:
                bar.start()
                shown = True
            yield item
            bar.advance(task)
    finally:
        bar.stop()


def say(verb: str, did: str) -> None:
    """Print the one line that a verb ends with: what it read, what it wrote."""
    print(f"{verb:<9} {did}", file=sys.stdout, flush=True)
