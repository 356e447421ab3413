"""Events from files, where there is no broker: a line is an event, and is taken when it is whole.

Files are appended to; one that has become shorter was made anew, and is read from its beginning.
"""

import hashlib
import json
import time
from collections.abc import Iterable
from itertools import islice, takewhile
from pathlib import Path

from ml.contract.clock import Clock
from ml.features.definition import Event, kind_of
from ml.features.updater import Position, take
from ml.online.store import OnlineStore
from ml.problem.schema import EVENTS
from ml.store import files
from ml.stream.backoff import Backoff
from ml.stream.counters import COMMITS, LAG, Tally
from ml.stream.messages import Letter, Message, rekeyed

BATCH = 1000  # lines
PAUSE = 0.2  # seconds between two looks at files that have not grown
DEAD_LETTERS = "dead-letters.jsonl"


class Inbox:
    """A folder of <kind>.jsonl; how far each was read stands in the online store, with the states."""

    def __init__(self, folder: str, store: OnlineStore, clock: Clock, tally: Tally) -> None:
        self._folder, self._store, self._clock, self._tally = files.local(folder, "events"), store, clock, tally
        self._backoff, self._idle = Backoff(), False

    def step(self) -> None:
        """Fold a batch of each file; raises Unavailable, or Overtaken by another reader of the file."""
        self._idle = False
        if self._backoff.waiting:
            time.sleep(PAUSE)
            return
        if not any([self._follow(kind) for kind in EVENTS]):
            self._idle = True
            time.sleep(PAUSE)
        self._backoff.worked()

    def falter(self) -> None:
        """Go on after a while from the positions in the store."""
        self._backoff.failed()

    def finished(self) -> bool:
        """Say whether every file was at its end when last looked at."""
        return self._idle

    def close(self) -> None:
        """Nothing is held open."""

    def _follow(self, kind: type[Event]) -> bool:
        """Fold the next lines of a file, if there are any, and say so."""
        path = self._folder / f"{kind_of(kind)}.jsonl"
        key = _key(path)
        (was,) = self._store.read([key])
        messages = _lines(path, int(was or 0))
        if messages:
            changes, dead = rekeyed(kind, messages, self._clock.now())
            self._bury(dead)
            end = messages[-1].offset + len(messages[-1].value)
            take(self._store, changes, Position(key, was, b"%d" % end), self._tally.taken)
            self._tally.read(kind_of(kind), len(messages))
            self._tally.buried(path.name, len(dead))
            COMMITS.labels(path.name).inc()
            LAG.labels(path.name, 0).set(path.stat().st_size - end)
        return bool(messages)

    def _bury(self, letters: Iterable[Letter]) -> None:
        for (topic, _, offset, _, line), reason in letters:
            told = {"reason": reason, "file": topic, "offset": offset, "line": line.decode(errors="replace")}
            with (self._folder / DEAD_LETTERS).open("a") as file:
                file.write(json.dumps(told) + "\n")


def strangers(folder: str) -> list[str]:
    """Return the names of files in an inbox that nobody reads."""
    read = {f"{kind_of(kind)}.jsonl" for kind in EVENTS} | {DEAD_LETTERS}
    return sorted(path.name for path in Path(folder).glob("*.jsonl") if path.name not in read)


def _lines(path: Path, start: int) -> list[Message]:
    """Return the next whole lines of a file from a byte on; none where there is no file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        offset = file.seek(start if start <= path.stat().st_size else 0)
        messages = []
        for line in takewhile(lambda line: line.endswith(b"\n"), islice(file, BATCH)):
            messages.append(Message(path.name, 0, offset, b"", line))
            offset += len(line)
    return messages


def _key(path: Path) -> bytes:
    """Return the position's key, which is short however deep the folder lies."""
    folder = hashlib.sha256(bytes(path.parent.resolve())).hexdigest()[:16]
    return f"position/{path.name}/{folder}".encode()
