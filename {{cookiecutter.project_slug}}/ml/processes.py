"""Ends processes that were started here, with all that they have started in turn; nothing is left running."""

import contextlib
import os
import signal
from pathlib import Path


def children(process: int) -> list[int]:
    """Return the processes that a process has started and that run still."""
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for each in lists for child in each.read_text().split()]


def tree(process: int) -> list[int]:
    """Return a process and all that it has started, in turn."""
    return [process, *(each for child in children(process) for each in tree(child))]


def end(process: int) -> None:
    """End a process and all that it has started; it stands still meanwhile, so that it starts nothing more."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(process, signal.SIGSTOP)
        for child in children(process):
            end(child)
        os.kill(process, signal.SIGKILL)
