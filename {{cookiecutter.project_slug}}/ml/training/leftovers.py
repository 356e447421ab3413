"""Ends what the local runner would leave behind: temporary files of steps, and the step that an interruption met."""

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Give the block's processes a temporary folder below `folder`; remove it, and end them, when the block ends."""
    tempfile.gettempdir()  # this process keeps its own
    before, outside = set(_children(os.getpid())), os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".steps-", ignore_cleanup_errors=True) as inside:
        os.environ["TMPDIR"] = inside
        try:
            yield
        finally:
            os.environ.pop("TMPDIR")
            if outside is not None:
                os.environ["TMPDIR"] = outside
            for child in set(_children(os.getpid())) - before:
                _end(child)


def _children(process: int) -> list[int]:
    """Return the processes that a process has started and that run still."""
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for each in lists for child in each.read_text().split()]


def _end(process: int) -> None:
    """End a process and all that it has started, the youngest last, so that none is started meanwhile."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(process, signal.SIGSTOP)
        for child in _children(process):
            _end(child)
        os.kill(process, signal.SIGKILL)
