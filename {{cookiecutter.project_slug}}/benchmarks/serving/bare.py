"""The limit: a raw ASGI app that reads JSON, hands what it finds to the same graph, and checks and remembers nothing.

It computes no feature: fields of the record go in as they are, and everything else as missing.
"""

import json
import os
from collections.abc import Sequence

import numpy as np

from ml.contract import bundle, release
from ml.features.table import CATEGORIES, NUMBERS, Inputs
from ml.serving.batching import Batching, Request, give
from ml.settings import settings

SCORER = bundle.load(settings().store_url, release.read().champion).scorer
BATCHED = os.environ.get("BARE_BATCHED") == "yes"


def inputs(records: list[dict]) -> Inputs:
    """Return the fields that the graph reads."""
    numbers = np.array([[record.get(each.field) for each in NUMBERS] for record in records], dtype=np.float32)
    categories = np.array([[record.get(each.field) or "" for each in CATEGORIES] for record in records], dtype=object)
    return Inputs(numbers, categories)


def end_turn(requests: Sequence[Request]) -> None:
    """Score what a turn of the loop has brought."""
    scores = SCORER.score(inputs([record for request in requests for record in request.records]))
    give(requests, [repr(float(score)) for score in scores])


BATCHING = Batching(end_turn)  # the same as ours


async def app(scope, receive, send) -> None:
    """Answer every request with a score, or a list of them."""
    if scope["type"] != "http":
        return
    content, more = b"", True
    while more:
        message = await receive()
        content, more = content + message.get("body", b""), message.get("more_body", False)
    record = json.loads(content)
    if isinstance(record, list):
        told = [{"score": score} for score in SCORER.score(inputs(record)).tolist()]
    elif BATCHED:
        told = {"score": float((await BATCHING.submit([record], 0.0))[0])}
    else:
        told = {"score": float(SCORER.score(inputs([record]))[0])}
    body = json.dumps(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
