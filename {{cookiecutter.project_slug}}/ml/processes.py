"""Ends processes that were started here, with all that they have started; and lets threads give way to others."""

import contextlib
import os
import signal
import threading
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


def began(process: int) -> str | None:
    """Return what tells a process from a later one of the same number; None where it has ended."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process, os.WNOHANG)  # a child of ours that has ended stays until somebody asks how
    try:
        _, _, told = Path(f"/proc/{process}/stat").read_text().rpartition(")")
    except OSError:
        return None
    state, *others = told.split()
    return None if state == "Z" else others[18]  # field 22 of proc(5): when it started


def give_way() -> None:
    """Let this thread run when no other of this process wants to: under load, others answer somebody."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)  # of one thread alone, on Linux
