"""The two routes that take data, and readiness, as one ASGI middleware: read, validate strictly, answer.

A request is refused with the field and the reason before anything is scored or written. All other routes pass on.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from ml.contract import clock
from ml.contract.schema import record_type
from ml.serving.counters import REFUSED
from ml.serving.predictor import Observed, Predictor, UnknownRequest

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LIMIT = 8 * 2**20  # bytes of a body: some ten thousand records
TIME = b"x-simulated-time"  # taken only where [serve] clock is "simulated"


class Refused(Exception):
    """A request that is answered with an error: a status and what to say."""

    def __init__(self, status: int, error: str, **more: Any) -> None:
        super().__init__(error)
        self.status, self.body = status, {"error": error, **more}


class Body:
    """Reads one object or a list of them, strictly, as a pydantic class says."""

    def __init__(self, kind: type[BaseModel]) -> None:
        self._one: TypeAdapter[BaseModel] = TypeAdapter(kind)
        self._many: TypeAdapter[list[BaseModel]] = TypeAdapter(list[kind])  # type: ignore[valid-type]

    def parse(self, body: bytes) -> tuple[Sequence[Any], bool]:
        """Return the objects, and whether they came as a list; raises Refused with each field and reason."""
        listed = body.lstrip()[:1] == b"["
        try:
            return (self._many.validate_json(body), True) if listed else ([self._one.validate_json(body)], False)
        except ValidationError as error:
            raise Refused(
                400, "invalid request", detail=[_detail(each, listed) for each in error.errors()[:20]]
            ) from None


def _detail(error: Any, listed: bool) -> dict[str, Any]:
    """Return one validation error as field and reason, with the row where there are many."""
    place = list(error["loc"])
    row = {"row": place.pop(0)} if listed and place else {}
    return {**row, "field": ".".join(map(str, place)) or None, "reason": error["msg"]}


class Endpoints:
    """Answers POST /predict and POST /outcomes with what `predictor` returns, and GET /readyz with its state."""

    def __init__(self, app: Any, predictor: Callable[[], Predictor]) -> None:
        self._app, self._predictor = app, predictor
        self._routes = {
            "/predict": (Body(record_type()), self._predict),
            "/outcomes": (Body(Observed), self._observe),
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request for one of the routes; pass every other on."""
        if scope.get("path") == "/readyz" and scope.get("method") == "GET":
            await _send(send, 200, json.dumps(self._predictor().state()).encode())
            return
        route = self._routes.get(scope.get("path", "")) if scope.get("method") == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        body, answer = route
        try:
            content = await _read(dict(scope["headers"]), receive)
            objects, listed = body.parse(content)
            self._set_clock(dict(scope["headers"]))
            await _send(send, 200, answer(objects, listed))
        except Refused as refused:
            REFUSED.labels(scope["path"], str(refused.status)).inc()
            await _send(send, refused.status, json.dumps(refused.body).encode())

    def _set_clock(self, headers: dict[bytes, bytes]) -> None:
        time, told = self._predictor().clock, headers.get(TIME)
        if told is None and time.told:
            return
        try:
            if told is None:
                raise ValueError("this service lives in simulated time, which nobody has told it yet")
            time.set(clock.parse(told.decode("ascii")))
        except ValueError as error:
            raise Refused(400, "invalid request", detail=[{"field": TIME.decode(), "reason": str(error)}]) from None

    def _predict(self, records: Sequence[BaseModel], listed: bool) -> bytes:
        answers = [answer.model_dump_json() for answer in self._predictor().predict(records)]
        return f"[{','.join(answers)}]".encode() if listed else answers[0].encode()

    def _observe(self, observed: Sequence[Observed], listed: bool) -> bytes:
        try:
            return json.dumps({"accepted": self._predictor().observe(observed)}).encode()
        except UnknownRequest as unknown:
            detail = [{"field": "request_id", "reason": f"no prediction has the id {unknown}"}]
            raise Refused(404, "unknown request", detail=detail) from None
        except OSError as error:
            raise Refused(503, f"outcomes cannot be written now: {error.strerror}; send them again") from error


async def _read(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """Return the body; raises Refused as soon as it is longer than the limit."""
    too_long = Refused(413, f"the body is longer than {LIMIT} bytes; send fewer records at once")
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > LIMIT:
        raise too_long
    content, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the client went away")
        content += message.get("body", b"")
        if len(content) > LIMIT:
            raise too_long
        more = message.get("more_body", False)
    return bytes(content)


async def _send(send: Send, status: int, body: bytes) -> None:
    """Send a JSON answer; after a body that was not read to its end, the connection is closed."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
