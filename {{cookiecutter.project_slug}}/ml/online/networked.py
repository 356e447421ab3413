"""The online store of many nodes, and the only place that knows Redis."""

import time
from collections import defaultdict
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
AT_ONCE = 50_000  # names and values on their way together
# A table is so many hashes, by the first byte of the name. One hash would stop all others for half a second a million
# names, when it expires; single keys, each with a time of its own, take twice as long to write and twice the memory.
SHARDS = 16


class Networked:
    """Redis: reads are one MGET, a transaction is WATCH, MGET, MULTI, MSET, EXEC; tables expire by themselves."""

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

    def put(self, table: bytes, values: Iterable[tuple[bytes, bytes]], expires: datetime) -> None:
        """Write many values under names of a table, which Redis forgets at `expires`; raises Unavailable."""
        left, at = iter(values), int(expires.timestamp() * 1000)
        try:
            while some := list(islice(left, AT_ONCE)):
                shards: dict[int, list[bytes]] = defaultdict(list)
                for pair in some:
                    shards[pair[0][0] % SHARDS] += pair
                with self._writer.pipeline(transaction=False) as pipe:  # others may read in between
                    for shard, items in shards.items():
                        pipe.hset(_key(table, shard), items=items)
                        pipe.pexpireat(_key(table, shard), at)
                    pipe.execute()
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error

    def look_up(self, table: bytes, names: Sequence[bytes]) -> Values:
        """Return the values of names of a table, None where there is none, in one round trip; raises Unavailable."""
        places: dict[int, list[int]] = defaultdict(list)
        for place, name in enumerate(names):
            places[name[0] % SHARDS].append(place)
        found: Values = [None] * len(names)
        try:
            with self._reader.pipeline(transaction=False) as pipe:
                for shard, own in places.items():
                    pipe.hmget(_key(table, shard), [names[place] for place in own])
                for own, values in zip(places.values(), pipe.execute(), strict=True):
                    for place, value in zip(own, values, strict=True):
                        found[place] = value
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error
        return found

    def drop(self, table: bytes) -> None:
        """Remove a table with all that is in it; raises Unavailable."""
        try:
            self._writer.unlink(*[_key(table, shard) for shard in range(SHARDS)])
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


def _key(table: bytes, shard: int) -> bytes:
    return b"%b/%d" % (table, shard)


def _client(url: str, patience: float) -> "redis.Redis":
    try:
        return redis.Redis.from_url(
            url, socket_timeout=patience, socket_connect_timeout=patience, retry=Retry(NoBackoff(), 0)
        )
    except ValueError:  # whose text may hold the password
        raise ContractError(
            "online store", f"{shown(url)} is no address of a Redis", "Edit [online] url in project.toml"
        ) from None
