"""Reads requests strictly: one object or a list of them, as a pydantic class says, refused with field and reason."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LIMIT = 8 * 2**20  # bytes of a body: some ten thousand records
PATIENCE = 30.0  # seconds for a body to arrive


class Refused(Exception):
    """A request that is answered with an error: a status and what to say."""

    def __init__(self, status: int, error: str, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body = json.dumps({"error": error, **more}).encode()


class Broken(Refused):
    """A body that breaks its class: what pydantic found, and whether it was a list."""

    def __init__(self, errors: list[Any], listed: bool) -> None:
        super().__init__(400, "invalid request", detail=[_detail(each, listed) for each in errors[:20]])
        self.errors, self.listed = errors, listed


TOO_LONG = f"the body is longer than {LIMIT} bytes; send fewer records at once"


class Body:
    """Reads one object or a list of them."""

    def __init__(self, kind: type[BaseModel]) -> None:
        self._one: TypeAdapter[BaseModel] = TypeAdapter(kind)
        self._many: TypeAdapter[list[BaseModel]] = TypeAdapter(list[kind])  # type: ignore[valid-type]

    def parse(self, body: bytes) -> tuple[Sequence[Any], bool]:
        """Return the objects, and whether they came as a list; raises Broken with each field and reason."""
        listed = body.lstrip()[:1] == b"["
        try:
            return (self._many.validate_json(body), True) if listed else ([self._one.validate_json(body)], False)
        except ValidationError as error:
            raise Broken(error.errors(include_url=False), listed) from None


def _detail(error: Any, listed: bool) -> dict[str, Any]:
    """Return one validation error as field and reason, with the row where there are many."""
    place = list(error["loc"])
    row = {"row": place.pop(0)} if listed and place else {}
    return {**row, "field": ".".join(map(str, place)) or None, "reason": error["msg"]}


class Reading:
    """Reads bodies, none longer than the limit, and gives up those that do not arrive.

    One timer watches all of them: one each would cost a request more than its validation does.
    """

    def __init__(self) -> None:
        self._since: dict[asyncio.Task[Any], float] = {}
        self._looking = False

    async def read(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Return the body; raises Refused as soon as it is longer than the limit, or late."""
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > LIMIT:
            raise Refused(413, TOO_LONG)
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        if not self._looking:
            self._looking = True
            loop.call_later(PATIENCE / 10, self._look)
        self._since[task] = loop.time()
        try:
            return await _whole(receive)
        except asyncio.CancelledError:
            if task in self._since:
                raise  # it was not us
            task.uncancel()
            raise Refused(408, f"the body did not arrive within {PATIENCE:g} seconds") from None
        finally:
            self._since.pop(task, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        for task, since in list(self._since.items()):
            if loop.time() - since > PATIENCE:
                del self._since[task]
                task.cancel()
        if self._since:
            loop.call_later(PATIENCE / 10, self._look)
        else:
            self._looking = False


async def _whole(receive: Receive) -> bytes:
    message = await receive()
    content = message.get("body", b"")
    while message.get("more_body", False) and len(content) <= LIMIT:
        message = await receive()
        content += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise Refused(400, "the client went away")
    if len(content) > LIMIT:
        raise Refused(413, TOO_LONG)
    return bytes(content)
