"""A thousand records a request, beside the same work in process: read, validate, features, score; see the package."""

import argparse
import json
import sys
import time

import numpy as np

from benchmarks.serving.load import load, request
from benchmarks.serving.servers import OURS, SERVERS, at_work, records
from ml.contract import bundle, release
from ml.contract.clock import Clock
from ml.contract.schema import record_type
from ml.features.online import Online
from ml.features.table import columns_of, inputs
from ml.online.store import connect
from ml.serving.body import Body
from ml.settings import settings

ROUNDS, SECONDS, ROWS = 7, 3.0, 1000


def in_process(body: bytes, seconds: float) -> float:
    """Return the records a second that one thread reads, validates, computes features of and scores, with no server."""
    scorer = bundle.load(settings().store_url, release.read().champion).scorer
    online, parser = Online(connect(settings().online_url)), Body(record_type())
    began, done = time.perf_counter(), 0
    while (taken := time.perf_counter() - began) < seconds:
        columns = columns_of(parser.parse(body)[0])
        known = online.known(columns, Clock("wall").now())
        done += len(scorer.score(inputs(columns | known.features)))
    online.close()
    return done / taken


def main() -> int:
    """Take turns, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    body = b"[" + b",".join((records() * ROWS)[:ROWS]) + b"]"
    assert len(json.loads(body)) == ROWS
    alone, served, errors = [], [], 0
    with at_work([each for each in SERVERS if each.name == OURS]) as (ours,):
        for _ in range(asked.rounds):
            alone.append(in_process(body, SECONDS))
            found = load(ours.port, [request("/predict", body)], SECONDS, connections=4)
            served.append(found.rate * ROWS)
            errors += found.errors
    shares = np.array(served) / np.array(alone)
    print(f"in process {np.median(alone):,.0f} records/s, served {np.median(served):,.0f} records/s:", end=" ")
    print(f"{np.median(shares):.2f} ({shares.min():.2f} to {shares.max():.2f}); {errors} answers not 200")
    return int(errors > 0)


if __name__ == "__main__":
    sys.exit(main())
