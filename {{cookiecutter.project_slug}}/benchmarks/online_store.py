"""What a read of twenty features costs: our store on LMDB and on Redis, a bare client of the same bytes, and Feast.

Run it in the project's environment with `python -m benchmarks.online_store --feast PYTHON`, where PYTHON is that of an
environment of its own with `feast[redis]==0.67.0 pandas==2.3.3`; it starts a redis-server of its own and prints a
Markdown table. All have twenty numbers of a thousand entities, as last values; ours once more as means over a window,
whose states are longer. They read in turns, so that a busy moment of the machine hits all of them.
"""

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import lmdb
import numpy as np
import redis

from ml.features.definition import Event, windowed
from ml.features.group import Group, Update, groups_of
from ml.features.online import Online
from ml.online.store import OnlineStore, connect
from ml.settings import ROOT

FEATURES, ENTITIES, ROUNDS = 20, 1000, 400
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SEED = 0

FEAST = ROOT / "benchmarks" / "online_store_feast.py"


class Seen(Event):
    """Something was seen of an entity."""

    entity: str


def group(how: str) -> Group:
    """Return a group of twenty features."""
    names = [f"{how}_{place}" for place in range(FEATURES)]
    return groups_of(windowed(name, "", events=Seen, entity="entity", how=how, hours=24) for name in names)[0]  # type: ignore[arg-type]


def fill(store: OnlineStore, own: Group) -> None:
    """Put a state for every entity into the store."""
    chance = np.random.default_rng(SEED)
    states = {}
    for entity in range(ENTITIES):
        values = tuple(chance.normal(size=FEATURES).tolist())
        updates = [Update(str(ago), int(NOW.timestamp()) - ago * 600, values) for ago in range(20)]
        states[own.key(f"e{entity}")] = own.update(None, None, updates).state
    store.update(list(states), lambda _: states)


Read = Callable[[list[str]], object]


def ours(url: str, how: str) -> Read:
    """Return a read of our store, values ready to score."""
    store, own = connect(url), group(how)
    fill(store, own)
    online = Online(store, [own])
    return lambda names: online.known({"entity": np.array(names, dtype=object)}, NOW)


def bare_redis(url: str) -> Read:
    """Return a read of the same bytes by the client alone."""
    client, own = redis.Redis.from_url(url), group("last")
    return lambda names: client.mget([own.key(name) for name in names])


def bare_lmdb(folder: str) -> Read:
    """Return a read of the same bytes by the library alone."""
    own = group("last")
    with contextlib.closing(connect(folder)) as store:
        fill(store, own)
    environment = lmdb.open(folder, readonly=True)

    def read(names: list[str]) -> object:
        with environment.begin() as transaction:
            return [transaction.get(own.key(name)) for name in names]

    return read


class Feast:
    """Feast in a process and an environment of its own, which times each read itself and tells the microseconds."""

    def __init__(self, python: str, port: int, folder: str) -> None:
        command = [python, str(FEAST), folder, str(port), str(FEATURES), str(ENTITIES)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin
        assert self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout
        while (line := self._out.readline().strip()) != "ready":
            if not line and self._process.poll() is not None:
                sys.exit("Feast did not start: see above")

    def microseconds(self, names: list[str]) -> float:
        """Read and return how long it took."""
        print(json.dumps(names), file=self._in, flush=True)
        return float(self._out.readline())

    def close(self) -> None:
        """End the process."""
        self._in.close()
        self._process.wait()


def timed(read: Read) -> Callable[[list[str]], float]:
    """Return what reads and returns how many microseconds it took."""

    def microseconds(names: list[str]) -> float:
        began = time.perf_counter()
        read(names)
        return (time.perf_counter() - began) * 1e6

    return microseconds


@contextlib.contextmanager
def redis_server() -> Iterator[int]:
    """Run a Redis of our own; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port)
        for _ in range(100):
            with contextlib.suppress(redis.RedisError):
                client.ping()
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def main(python: str | None) -> None:
    """Print the table."""
    chance = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as folder, redis_server() as port, contextlib.ExitStack() as stack:
        url = f"redis://127.0.0.1:{port}/0"
        ways = {
            "ours, LMDB": timed(ours(f"{folder}/last", "last")),
            "ours, LMDB, means": timed(ours(f"{folder}/mean", "mean")),
            "bare LMDB": timed(bare_lmdb(f"{folder}/bare")),
            "ours, Redis": timed(ours(url, "last")),
            "ours, Redis, means": timed(ours(url, "mean")),
            "bare Redis": timed(bare_redis(url)),
        }
        if python:
            feast = Feast(python, port, folder)
            stack.callback(feast.close)
            ways["Feast, Redis"] = feast.microseconds
        print("| read | p50, 1 entity | p99 | p50, 100 entities | p99 |\n|---|--:|--:|--:|--:|")
        found: dict[tuple[str, int], list[float]] = {}
        for turn in range(ROUNDS + 20):
            for count in (1, 100):
                names = [f"e{each}" for each in chance.integers(0, ENTITIES, count)]
                for name, read in chance.permutation(list(ways.items())).tolist():
                    if turn >= 20:  # warm
                        found.setdefault((name, count), []).append(read(names))
                    else:
                        read(names)
        for name in ways:
            cells = [f"{value:,.0f} us" for count in (1, 100) for value in np.quantile(found[name, count], (0.5, 0.99))]
            print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feast", help="the python of an environment with feast[redis]")
    main(parser.parse_args().feast)
