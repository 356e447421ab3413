"""A serving process without its server, inside a test."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import configured, copy_of_bundle

from ml.serving.batching import Batching
from ml.serving.process import Process


@contextmanager
def process(bundle: tuple[str, str], store: Path, clock: str = "wall") -> Iterator[Process]:
    """Yield what a worker holds that serves a bundle, from a store of its own; its log is closed and sent at last."""
    if not (store / "bundles").exists():
        copy_of_bundle(bundle, store)
    with configured(ML_STORE_URL=store, ML_RELEASE_BUNDLE=bundle[1], ML_SERVE_CLOCK=clock):
        found = Process()
        try:
            yield found
        finally:
            found.log.close()
            found.store.close()


def answers(process: Process, records: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what one request with these records is answered."""

    async def ask() -> list[str]:
        return await Batching(process.predictor.serve).submit(records, time.perf_counter())

    return [json.loads(answer) for answer in asyncio.run(ask())]
