"""The online store of many nodes, and the only place that knows Redis."""

from collections.abc import Sequence

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ml.errors import ContractError
from ml.online.store import Change, Unavailable, Values

PATIENCE = 0.25  # seconds for a connection or an answer: a request waits no longer, and goes on with defaults


class Networked:
    """Redis: reads are one MGET, a transaction is WATCH, MGET, MULTI, SET..., EXEC."""

    def __init__(self, url: str) -> None:
        try:
            self._client = redis.Redis.from_url(
                url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 1)
            )
        except ValueError as error:
            raise ContractError("online store", f"{error}", "Edit [online] url in project.toml") from error

    def read(self, keys: Sequence[bytes]) -> Values:
        """Return the values of keys, None where there is none, in one round trip; raises Unavailable."""
        try:
            return list(self._client.mget(keys)) if keys else []  # type: ignore[arg-type]
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error

    def update(self, keys: Sequence[bytes], change: Change) -> None:
        """Write what `change` makes of the values of keys, all or nothing; again where another writer was faster."""
        try:
            with self._client.pipeline() as pipe:
                while True:
                    try:
                        pipe.watch(*keys)  # type: ignore[no-untyped-call]
                        changes = change(pipe.mget(keys))  # type: ignore[arg-type]
                        pipe.multi()
                        pipe.mset(dict(changes))
                        pipe.execute()
                        return
                    except redis.WatchError:
                        continue
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
