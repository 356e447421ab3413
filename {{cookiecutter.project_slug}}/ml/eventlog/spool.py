"""The spool: open segments on this node's disk, each locked by the one process that writes it.

The operating system frees a lock when its holder ends, however it ends: what is free is closed, and may be sent.
"""

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from ml.contract.clock import Clock
from ml.eventlog import segments

FULL = 64 * 2**20  # bytes


class OpenSegment:
    """A segment of one table that grows by whole batches."""

    def __init__(self, spool: Path, table: str) -> None:
        self.table = table
        folder = spool / table
        folder.mkdir(parents=True, exist_ok=True)
        stamp = Clock("wall").now().strftime("%Y%m%dT%H%M%S.%f")
        path = folder / f"{stamp}-{uuid.uuid4().hex[:8]}.new"
        self._file = FileIO(path, "xb")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        path.rename(path.with_suffix(segments.OPEN))  # before it was locked, others would have taken it for left behind
        self._began = time.monotonic()

    def due(self, seconds: float) -> bool:
        """Say whether it is as old as that, or full."""
        return time.monotonic() - self._began > seconds or self._file.tell() > FULL

    def append(self, rows: pa.RecordBatch) -> None:
        """Write a batch, all or nothing; raises OSError when the disk does not take it."""
        whole = self._file.tell()
        left = memoryview(segments.stream(rows, begin=not whole))
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            self._file.truncate(whole)  # a full disk takes part of a batch, behind which the next could not be read
            self._file.seek(whole)
            raise

    def close(self) -> None:
        """Let go of it: it may be sent."""
        self._file.close()


def tables(spool: Path) -> list[str]:
    """Return the tables that have a spool."""
    return sorted(folder.name for folder in spool.glob("[!.]*"))


def names(spool: Path, table: str) -> list[str]:
    """Return the segments of a table that were not sent yet, oldest first."""
    return sorted(file.stem for file in (spool / table).glob(f"*{segments.OPEN}"))


def read(spool: Path, table: str, name: str) -> pa.Table | None:
    """Return what is whole of a segment, whoever writes it; None where it is gone or has nothing whole."""
    try:
        with _path(spool, table, name).open("rb") as file:
            return segments.read_open(file)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def taken(spool: Path, table: str, name: str) -> Iterator[BinaryIO | None]:
    """Yield a segment that nobody writes any more, and remove it after the block; None where somebody does."""
    try:
        file = _path(spool, table, name).open("rb")
    except FileNotFoundError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        if not os.fstat(file.fileno()).st_nlink:  # sent by another process meanwhile
            yield None
            return
        yield file
        _path(spool, table, name).unlink()


def _path(spool: Path, table: str, name: str) -> Path:
    return spool / table / (name + segments.OPEN)
