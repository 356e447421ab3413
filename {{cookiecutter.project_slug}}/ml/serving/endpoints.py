"""POST /predict, GET /readyz and GET /docs.json, as an ASGI middleware that BentoML's own never see.

BentoML would put an ordinary middleware behind its metrics, tracing, log, timeout and limit, each of which costs more
than a prediction. So at start-up this one moves in front of them; whatever is not its own passes on to them.
"""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from ml.contract import secrets
from ml.contract.schema import record_type
from ml.serving import breaches
from ml.serving.batching import Batching
from ml.serving.body import Body, Broken, Message, Reading, Receive, Refused, Send
from ml.serving.counters import REFUSED
from ml.serving.description import description
from ml.serving.process import TIME, Process
from ml.serving.tracing import RECORDS, traced

logger = logging.getLogger("ml.serving")

PLACES = b'{"predict": "POST /predict", "openapi": "/docs.json", "metrics": "/metrics", "ready": "/readyz"}'
BUSY = 256  # requests at once in a worker; BentoML's limit, which holds for its own routes only, is the same


class Endpoints:
    """Answers what is ours, and starts and ends the process with the server."""

    def __init__(self, app: Any, process: Callable[[], Process]) -> None:
        self._app, self._process = app, process
        self._body = Body(record_type())
        self._batching = Batching(lambda requests: process().predictor.serve(requests))
        self._reading, self._busy = Reading(), 0
        self._callers = secrets.callers()
        self._answer = traced(self._predict, lambda: process().predictor.plan)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer what is ours, and pass everything else on."""
        if scope["type"] == "lifespan":
            self._move_in_front(scope["app"])
            await self._app(scope, receive, self._with_process(send))
        else:
            await self._serve(self._app, scope, receive, send)

    def _with_process(self, send: Send) -> Send:
        """Return `send` such that the server starts after the process, and ends after it."""

        async def passing(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._process().start()
            elif message["type"] == "lifespan.shutdown.complete":
                await self._process().stop()
            await send(message)

        return passing

    def _move_in_front(self, application: Any) -> None:
        behind = application.middleware_stack

        async def in_front(scope: Message, receive: Receive, send: Send) -> None:
            await self._serve(behind, scope, receive, send)

        application.middleware_stack = in_front

    async def _serve(self, otherwise: Any, scope: Message, receive: Receive, send: Send) -> None:
        path = scope.get("path")
        if path == "/predict" and scope["method"] == "POST":
            await self._answer(scope, receive, send)
        elif path == "/readyz" and scope["method"] == "GET":
            status, state = self._process().state()
            await self._send(send, status, json.dumps(state).encode())
        elif path == "/docs.json" and scope["method"] == "GET":
            await self._send(send, 200, description())
        elif path == "/" and scope["method"] == "GET":  # BentoML's page there loads scripts from elsewhere
            await self._send(send, 200, PLACES)
        else:
            await otherwise(scope, receive, send)

    async def _predict(self, scope: Message, receive: Receive, send: Send) -> None:
        self._busy += 1
        try:
            if self._busy > BUSY:
                raise Refused(429, f"{BUSY} requests are being answered; try again in a second")
            headers = dict(scope["headers"])
            if self._callers:
                self._refuse_strangers(headers.get(b"authorization", b"").decode("latin-1"))
            content = await self._reading.read(headers, receive)
            came = time.perf_counter()
            records, listed = self._body.parse(content)
            scope[RECORDS] = len(records)
            self._process().set_clock(headers.get(TIME, b"").decode("latin-1"))
            answers = await self._batching.submit(records, came) if records else []
            await self._send(send, 200, (f"[{','.join(answers)}]" if listed else answers[0]).encode())
        except Refused as refused:
            REFUSED.labels("/predict", str(refused.status)).inc()
            if isinstance(refused, Broken):
                breaches.count(refused.errors, refused.listed)
            await self._send(send, refused.status, refused.body)
        except Exception:
            logger.exception("a request could not be answered")
            REFUSED.labels("/predict", "500").inc()
            await self._send(send, 500, b'{"error": "this request could not be answered; the log says why"}')
        finally:
            self._busy -= 1

    def _refuse_strangers(self, authorization: str) -> None:
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or token not in self._callers:
            raise Refused(401, "predictions need the token of a caller: Authorization: Bearer ...")

    async def _send(self, send: Send, status: int, content: bytes) -> None:
        """Send a JSON answer; a connection ends with what was not read to its end, and while the process drains."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        if status == 429:
            headers.append((b"retry-after", b"1"))
        if status in (401, 408, 413) or self._process().draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
