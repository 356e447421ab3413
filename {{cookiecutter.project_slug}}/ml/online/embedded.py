"""The online store of one node, and the only place that knows LMDB: a memory-mapped file, read without a lock."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice

import lmdb

from ml.errors import ContractError
from ml.online.store import Change, Unavailable, Values
from ml.store import files

LARGEST = 2**36  # bytes that the file may grow to: address space, not memory
AT_ONCE = 10_000  # keys in a transaction: another writer waits no longer


class Embedded:
    """LMDB in a directory; any number of processes read while one writes."""

    def __init__(self, folder: str) -> None:
        self._folder = files.local(folder, "online store")
        try:
            self._open()
        except lmdb.Error as error:
            broken = f"{folder} cannot be opened: {error}"
            raise ContractError("online store", broken, "See [online] in project.toml") from error

    def read(self, keys: Sequence[bytes]) -> Values:
        """Return the values of keys, None where there is none; raises Unavailable."""
        try:
            with self._current().begin() as transaction:
                return [transaction.get(key) for key in keys]
        except (lmdb.Error, OSError) as error:
            raise Unavailable(str(error)) from error

    def update(self, keys: Sequence[bytes], change: Change) -> None:
        """Write what `change` makes of the values of keys, all or nothing; writers wait for each other."""
        try:
            with self._current().begin(write=True) as transaction:
                for key, value in change([transaction.get(key) for key in keys]).items():
                    transaction.put(key, value)
        except (lmdb.Error, OSError) as error:
            raise Unavailable(str(error)) from error

    def put(self, table: bytes, values: Iterable[tuple[bytes, bytes]], expires: datetime) -> None:
        """Write many values under names of a table; they stay until it is dropped. Raises Unavailable."""
        left = ((_key(table, name), value) for name, value in values)
        try:
            while some := list(islice(left, AT_ONCE)):
                with self._current().begin(write=True) as transaction:
                    transaction.cursor().putmulti(sorted(some))  # neighbours share a page
        except (lmdb.Error, OSError) as error:
            raise Unavailable(str(error)) from error

    def look_up(self, table: bytes, names: Sequence[bytes]) -> Values:
        """Return the values of names of a table, None where there is none; raises Unavailable."""
        return self.read([_key(table, name) for name in names])

    def drop(self, table: bytes) -> None:
        """Remove a table with all that is in it; raises Unavailable."""
        try:
            while self._removed(_key(table, b"")) == AT_ONCE:
                pass
        except (lmdb.Error, OSError) as error:
            raise Unavailable(str(error)) from error

    def close(self) -> None:
        """Close the file."""
        self._env.close()

    def _removed(self, beginning: bytes) -> int:
        """Remove the first keys that begin so and return how many there were."""
        with self._current().begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.set_range(beginning)
            for count in range(AT_ONCE):
                if not cursor.key().startswith(beginning):  # at the end it is empty
                    return count
                cursor.delete()  # and go on to the next
        return AT_ONCE

    def _open(self) -> None:
        # After a crash of the machine the last commits may be lost, and the positions in the stream with them.
        self._env = lmdb.open(str(self._folder), map_size=LARGEST, metasync=False, max_readers=1024)
        self._file = (self._folder / "data.mdb").stat().st_ino

    def _current(self) -> lmdb.Environment:
        """Return the store that lies there now: one that was removed and made anew is another."""
        if (self._folder / "data.mdb").stat().st_ino != self._file:
            self._env.close()
            self._open()
        return self._env


def _key(table: bytes, name: bytes) -> bytes:
    return b"%b/%b" % (table, name)
