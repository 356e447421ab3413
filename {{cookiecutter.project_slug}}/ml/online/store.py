"""The port: bytes under keys, read many in one round trip, changed many in one transaction; and tables of many bytes.

A table is written once and read by name, and goes as a whole: a batch job's results.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

Values = list[bytes | None]
Change = Callable[[Values], Mapping[bytes, bytes]]


class Unavailable(Exception):
    """The store does not answer now; it may answer again later."""


class OnlineStore(Protocol):
    """Bytes under keys, and under names in tables; no name is empty."""

    def read(self, keys: Sequence[bytes]) -> Values:
        """Return the values of keys, None where there is none, in one round trip; raises Unavailable."""

    def update(self, keys: Sequence[bytes], change: Change) -> None:
        """Write what `change` makes of the values of keys, all or nothing, and as if nobody else wrote meanwhile.

        `change` may be called more than once. What it raises ends the transaction: nothing is written then. Raises
        Unavailable; whether all or nothing was written is then not known.
        """

    def put(self, table: bytes, values: Iterable[tuple[bytes, bytes]], expires: datetime) -> None:
        """Write many values under names of a table, in as many transactions as it takes; raises Unavailable.

        From `expires` on nobody may use them: a store that can forgets them then, of another they are to be dropped.
        """

    def look_up(self, table: bytes, names: Sequence[bytes]) -> Values:
        """Return the values of names of a table, None where there is none, in one round trip; raises Unavailable."""

    def drop(self, table: bytes) -> None:
        """Remove a table with all that is in it; raises Unavailable."""

    def close(self) -> None:
        """Let go of the store."""


def shown(url: str) -> str:
    """Return a URL as it may be printed: the password of a Redis is nobody's business."""
    return url.rpartition("@")[2].partition("?")[0]


def connect(url: str) -> OnlineStore:
    """Open the store at `url`: a directory of this node, or redis://, rediss:// or unix:// for many nodes.

    The path of a Redis URL may name a database; raises ContractError where the store can never be used.
    """
    if "://" in url:
        from ml.online.networked import Networked

        return Networked(url)
    from ml.online.embedded import Embedded

    return Embedded(url)
