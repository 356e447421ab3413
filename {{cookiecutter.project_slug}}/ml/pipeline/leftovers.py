"""Ends what the local runner would leave behind: temporary files of steps, and the step that an interruption met."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ml import processes


@contextlib.contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Give the block's processes a temporary folder below `folder`; remove it, and end them, when the block ends."""
    tempfile.gettempdir()  # this process keeps its own
    before, outside = set(processes.children(os.getpid())), os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".steps-", ignore_cleanup_errors=True) as inside:
        os.environ["TMPDIR"] = inside
        try:
            yield
        finally:
            os.environ.pop("TMPDIR")
            if outside is not None:
                os.environ["TMPDIR"] = outside
            for child in set(processes.children(os.getpid())) - before:
                processes.end(child)
