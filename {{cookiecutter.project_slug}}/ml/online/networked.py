"""The online store of many nodes, and the only place that knows Redis."""

import re
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice

import redis
from redis.backoff import FullJitterBackoff, NoBackoff
from redis.retry import Retry

from ml.errors import ContractError
from ml.online.store import Change, Unavailable, Values, shown

PATIENCE = 0.25  # seconds for a connection or an answer: a request waits no longer, and goes on with defaults
PATIENCE_TO_WRITE = 5.0  # seconds: nobody waits for a writer
ATTEMPTS = 20  # at a transaction into which others write
YIELD = FullJitterBackoff(cap=0.1, base=0.001)  # seconds left to them, by chance: writers in step stop each other
AT_ONCE = 1000  # keys in one command: others wait for it, some milliseconds
PUT = "for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[i], 'PXAT', ARGV[#ARGV]) end"  # a third of as many SETs


class Networked:
    """Redis: reads are one MGET, a transaction is WATCH, MGET, MULTI, MSET, EXEC; bulk values expire by themselves."""

    def __init__(self, url: str) -> None:
        self._reader, self._writer = _client(url, PATIENCE), _client(url, PATIENCE_TO_WRITE)

    def read(self, keys: Sequence[bytes]) -> Values:
        """Return the values of keys, None where there is none, in one round trip; raises Unavailable."""
        try:
            return list(self._reader.mget(keys)) if keys else []  # type: ignore[arg-type]
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error

    def update(self, keys: Sequence[bytes], change: Change) -> None:
        """Write what `change` makes of the values of keys, all or nothing; again where another writer was faster."""
        try:
            with self._writer.pipeline() as pipe:
                for failures in range(1, ATTEMPTS + 1):
                    if self._done(pipe, keys, change):
                        return
                    time.sleep(YIELD.compute(failures))
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error
        raise Unavailable(f"{ATTEMPTS} times another writer was faster")

    def put(self, values: Iterable[tuple[bytes, bytes]], expires: datetime) -> None:
        """Write many values under their keys, which Redis forgets at `expires`; raises Unavailable."""
        left, put, at = iter(values), self._writer.register_script(PUT), int(expires.timestamp() * 1000)
        try:
            while some := list(islice(left, AT_ONCE)):
                keys, own = zip(*some, strict=True)
                put(keys=keys, args=[*own, at])
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error

    def remove(self, beginning: bytes) -> None:
        """Remove all keys that begin so; raises Unavailable."""
        literal = re.sub(rb"([][*?\\])", rb"\\\1", beginning)
        try:
            found = self._writer.scan_iter(match=literal + b"*", count=AT_ONCE)
            while some := list(islice(found, AT_ONCE)):
                self._writer.unlink(*some)
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()
        self._writer.close()

    def _done(self, pipe: "redis.client.Pipeline", keys: Sequence[bytes], change: Change) -> bool:
        try:
            pipe.watch(*keys)  # type: ignore[no-untyped-call]
            changes = change(pipe.mget(keys))  # type: ignore[arg-type]
            pipe.multi()
            pipe.mset(dict(changes))
            pipe.execute()
        except redis.WatchError as error:
            # The client calls a connection that it lost while watching by the same name.
            if isinstance(error.__context__, (redis.ConnectionError, redis.TimeoutError)):
                raise Unavailable(str(error.__context__)) from error
            return False
        return True


def _client(url: str, patience: float) -> "redis.Redis":
    try:
        return redis.Redis.from_url(
            url, socket_timeout=patience, socket_connect_timeout=patience, retry=Retry(NoBackoff(), 0)
        )
    except ValueError:  # whose text may hold the password
        raise ContractError(
            "online store", f"{shown(url)} is no address of a Redis", "Edit [online] url in project.toml"
        ) from None
