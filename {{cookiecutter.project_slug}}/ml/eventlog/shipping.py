"""Sends closed segments to where the event log lives, a directory or an object store, and goes on until that works.

What an earlier process left in the spool, however it ended, is sent as well.
"""

import logging
import threading
from pathlib import Path

from ml.eventlog import segments, spool
from ml.processes import give_way
from ml.store import files

AGAIN = 5.0  # seconds between two looks into the spool

logger = logging.getLogger("ml.events")


class Shipping:
    """A thread that empties the spool."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url
        self._wake, self._closing = threading.Event(), False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="event log shipping", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look into the spool now."""
        self._wake.set()

    def close(self) -> None:
        """Send what is there, once, and end."""
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        give_way()
        closing = False
        while not closing:
            self._wake.clear()
            closing = self._closing  # read after that, else its wake-up could be the one that was cleared
            try:
                send(self._folder, self._url)
                self._failing = False
            except Exception as error:  # whatever it is, it is tried again
                if not self._failing:
                    logger.error("closed segments of the event log wait in %s: %s", self._folder, error)
                self._failing = True
            if not closing:
                self._wake.wait(AGAIN)


def send(folder: Path, url: str) -> int:
    """Send every segment that nobody writes any more, oldest first, and return how many; raises ContractError."""
    sent = 0
    for table in spool.tables(folder):
        for name in spool.names(folder, table):
            with spool.taken(folder, table, name) as file:
                if file is None:
                    continue
                rows = segments.read_open(file)
                if rows is not None and len(rows):
                    files.write(files.join(url, table, name + segments.CLOSED), segments.closed(rows))
                sent += 1
    return sent
