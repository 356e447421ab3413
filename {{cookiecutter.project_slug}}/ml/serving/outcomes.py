"""POST /outcomes, on a port of its own and for who has a token: whoever can write labels can steer retraining.

The only place that knows aiohttp. An outcome is answered for once it is in the event log, with who sent it.
"""

import asyncio
from collections.abc import Callable, Sequence

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from ml.contract import events, secrets
from ml.contract.clock import Clock
from ml.eventlog.log import EventLog
from ml.serving.body import LIMIT, TOO_LONG, Body, Refused
from ml.serving.counters import OUTCOMES, REFUSED
from ml.settings import settings

MOST = 10_000  # outcomes at once: predictions are answered by the same loop


class Observed(BaseModel):
    """The outcome of an earlier prediction."""

    model_config = ConfigDict(extra="forbid", strict=True)

    request_id: str
    outcome: bool


class Outcomes:
    """The listener for outcomes, beside the one for predictions."""

    def __init__(self, log: EventLog, set_clock: Callable[[str], None], clock: Clock) -> None:
        self._log, self._set_clock, self._clock = log, set_clock, clock
        self._senders = secrets.senders()
        self._body = Body(Observed)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to listen; every worker on the same port."""
        application = web.Application(client_max_size=LIMIT)
        application.router.add_post("/outcomes", self._answer)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await self._runner.setup()
        conf = settings().serve
        await web.TCPSite(self._runner, conf.host, conf.outcomes_port, reuse_port=True).start()

    async def stop(self) -> None:
        """Answer what is under way, and listen no more."""
        if self._runner:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            sender, content = self._sender(request), await _content(request)
            accepted = await self._observe(sender, content, request.headers.get("X-Simulated-Time", ""))
            return web.json_response({"accepted": accepted})
        except Refused as refused:
            REFUSED.labels("/outcomes", str(refused.status)).inc()
            return web.Response(status=refused.status, body=refused.body, content_type="application/json")

    def _sender(self, request: web.Request) -> str:
        """Return who has the token that came; raises Refused for nobody."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and (sender := self._senders.get(token)):
            return sender
        raise Refused(401, "outcomes need the token of a sender: Authorization: Bearer ...")

    async def _observe(self, sender: str, content: bytes, time: str) -> int:
        """Log outcomes, all or none, and return how many; raises Refused."""
        observed, _ = self._body.parse(content)
        if len(observed) > MOST:
            raise Refused(413, f"there are more than {MOST} outcomes; send fewer at once")
        self._set_clock(time)
        self._refuse_unknown(observed)
        ids, outcomes = [each.request_id for each in observed], [each.outcome for each in observed]
        part = {"request_id": ids, "time": self._clock.now(), "outcome": outcomes, "sender": sender}
        try:
            if ids and not self._log.append(events.OUTCOMES, part, len(ids)):
                raise OSError("too much waits to be written")
            await asyncio.to_thread(self._log.flush)
        except OSError as error:
            raise Refused(503, f"outcomes cannot be written now: {error}; send them again") from error
        for outcome in outcomes:
            OUTCOMES.labels(sender, str(outcome).lower()).inc()
        return len(ids)

    def _refuse_unknown(self, observed: Sequence[Observed]) -> None:
        for each in observed:
            if not events.is_request_id(each.request_id, settings().release.environment):
                detail = [{"field": "request_id", "reason": f"no prediction has the id {each.request_id}"}]
                raise Refused(404, "unknown request", detail=detail)


async def _content(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refused(413, TOO_LONG) from None
