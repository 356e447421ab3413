"""Feast's side of `benchmarks.online_store`: runs in an environment of its own, and reads what it is told to.

Arguments: folder, Redis' port, features, entities. It says `ready`; then each line of entities on standard input is
answered by the microseconds that the read took.
"""

import json
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64

SEED = 0


def main(folder: str, port: str, features: int, entities: int) -> None:
    """Fill the store, then answer."""
    names = [f"last_{place}" for place in range(features)]
    now = datetime.now(timezone.utc)  # noqa: UP017
    frame = pd.DataFrame(np.random.default_rng(SEED).normal(size=(entities, features)), columns=names)
    frame = frame.assign(entity=[f"e{each}" for each in range(entities)], time=now)
    path = Path(folder) / "feast.parquet"
    frame.to_parquet(path)
    source = FileSource(path=str(path), timestamp_field="time")
    entity = Entity(name="entity", join_keys=["entity"])
    fields = [Field(name=name, dtype=Float64) for name in names]
    view = FeatureView(name="seen", entities=[entity], ttl=timedelta(days=1), schema=fields, source=source)
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(Path(folder) / "registry.db"),
            online_store={"type": "redis", "connection_string": f"127.0.0.1:{port},db=1"},
            entity_key_serialization_version=3,
        )
    )
    store.apply([entity, view])
    store.write_to_online_store("seen", frame)
    asked = [f"seen:{name}" for name in names]
    print("ready", flush=True)
    for line in sys.stdin:
        rows = [{"entity": name} for name in json.loads(line)]
        began = time.perf_counter()
        store.get_online_features(features=asked, entity_rows=rows).to_dict()
        print((time.perf_counter() - began) * 1e6, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
