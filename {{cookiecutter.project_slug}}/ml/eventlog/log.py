"""Writes the event log off the hot path: a bounded buffer, and one thread that empties it into open segments.

Who appends never waits and never fails. What the process had buffered when it was killed is lost, so at most WINDOW
seconds; what cannot be written waits in memory, and what there is no room for is counted as lost.
"""

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ml.eventlog import segments
from ml.eventlog.segments import Part
from ml.eventlog.shipping import Shipping
from ml.eventlog.spool import OpenSegment
from ml.processes import give_way

WINDOW = 0.2  # seconds between two writes
CAPACITY = 100_000  # rows in memory

Columns = Callable[[Sequence[Any]], Iterable[tuple[Part, int]]]
Way = tuple[str, Columns | None]  # the table, and how its rows are made of what was appended

logger = logging.getLogger("ml.events")


class EventLog:
    """Appends to the tables of one environment's event log, from one process."""

    def __init__(self, spool: Path, url: str, seconds: float, lost: Callable[[int], None] = lambda rows: None) -> None:
        self._spool, self._seconds, self._lost = spool, seconds, lost
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._buffer: list[tuple[Way, Any, int]] = []
        self._batches: deque[tuple[str, pa.RecordBatch]] = deque()  # built once, however often their writing is tried
        self._rows = 0  # in the buffer and in batches
        self._waiting: list[threading.Event] = []
        self._open: dict[str, OpenSegment] = {}
        self._closing = False
        self.failing: str | None = None  # why the last write failed
        self._shipping = Shipping(spool, url)
        self._writer = threading.Thread(target=self._write, name="event log", daemon=True)
        self._writer.start()

    def append(self, table: str, told: Any, rows: int, columns: Columns | None = None) -> bool:
        """Take rows of a table, and say whether there was room for them; else they are lost, and counted.

        They are a part of the table, or what `columns` makes parts of, in the writer's thread and of many at once.
        """
        with self._lock:
            if fits := self._rows + rows <= CAPACITY:
                self._buffer.append(((table, columns), told, rows))
                self._rows += rows
        if not fits:
            self._lost(rows)
        return fits

    def flush(self, patience: float = 5) -> None:
        """Return once all that was appended is in a segment; raises OSError where that fails, or takes longer."""
        written = threading.Event()
        with self._lock:
            self._waiting.append(written)
        self._wake.set()
        if not written.wait(patience) or self.failing:
            raise OSError(self.failing or "the disk is too slow")

    def close(self) -> None:
        """Write what is buffered, close the segments and send them, as far as that is possible now."""
        self._closing = True
        self._wake.set()
        self._writer.join()
        self._shipping.close()

    def _write(self) -> None:
        give_way()
        closing = False
        while not closing:
            self._wake.wait(WINDOW)
            self._wake.clear()
            closing = self._closing  # read before the buffer is emptied for the last time
            try:
                self._empty()
                self._close_segments(closing)
            except Exception as error:  # without this thread, nothing would be written any more and nobody would know
                logger.exception("the event log fails")
                self.failing = str(error)

    def _close_segments(self, every: bool) -> None:
        for segment in [each for each in self._open.values() if every or each.due(self._seconds)]:
            del self._open[segment.table]
            segment.close()
            self._shipping.wake()

    def _empty(self) -> None:
        """Write what is buffered, a batch a table; what cannot be written is tried again the next time."""
        with self._lock:
            taken, self._buffer = self._buffer, []
            waiting, self._waiting = self._waiting, []
        by_way = defaultdict(list)
        for way, told, count in taken:
            by_way[way].append((told, count))
        for way, all_of in by_way.items():
            self._batches.extend(self._whole(way, all_of))
        try:
            while self._batches:
                table, rows = self._batches[0]
                self._segment(table).append(rows)
                self._batches.popleft()
                self._let_go(len(rows))
            if self.failing:
                logger.warning("the event log is written again")
                self.failing = None
        except OSError as error:
            if not self.failing:
                logger.error("the event log cannot be written, and waits in memory: %s", error)
            self.failing = error.strerror or str(error)
        for each in waiting:
            each.set()

    def _whole(self, way: Way, taken: Sequence[tuple[Any, int]]) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Yield what was taken as one batch; what is none of this table costs its own rows and no others."""
        table, columns = way
        try:
            yield table, segments.batch(table, list(columns([told for told, _ in taken])) if columns else taken)
        except Exception:
            if len(taken) > 1:
                for each in taken:
                    yield from self._whole(way, [each])
                return
            ((_, count),) = taken
            logger.exception("%d rows are none of the table %s", count, table)
            self._let_go(count)
            self._lost(count)

    def _let_go(self, rows: int) -> None:
        with self._lock:
            self._rows -= rows

    def _segment(self, table: str) -> OpenSegment:
        if table not in self._open:
            self._open[table] = OpenSegment(self._spool, table)
        return self._open[table]
