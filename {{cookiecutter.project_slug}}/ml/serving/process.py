"""One serving process, from start to end: the plan at work, the event log, the port for outcomes, and the drain.

Told to terminate, it says by /readyz that it wants no more requests, goes on answering for as long as balancers need to
notice, and only then lets the server end.
"""

import asyncio
import gc
import logging
import signal
from typing import Any

from ml.contract import clock
from ml.contract.clock import Clock
from ml.eventlog.log import EventLog
from ml.online.store import connect
from ml.serving import counters, tracing
from ml.serving.body import Refused
from ml.serving.journal import Journal
from ml.serving.outcomes import Outcomes
from ml.serving.plan import Plan
from ml.serving.predictor import Predictor
from ml.serving.switch import Switch
from ml.settings import settings

TIME = b"x-simulated-time"  # taken only where [serve] clock is "simulated"

logger = logging.getLogger("ml.serving")


class Process:
    """What one worker of the server holds."""

    def __init__(self) -> None:
        conf = settings()
        self._switch = Switch()
        self.clock, self.store = Clock(conf.serve.clock), connect(conf.online_url)
        self.log = EventLog(conf.spool, conf.events_url, conf.events.segment_seconds, counters.LOST.inc)
        self.predictor = Predictor(self._switch.plan, Journal(self.log), self.clock, self.store)
        self._outcomes = Outcomes(self.log, self.set_clock, self.clock)
        self.draining = False
        self._watching: asyncio.Task[None] | None = None

    def set_clock(self, told: str) -> None:
        """Set simulated time to what a request says; raises Refused where it says none (""), or what cannot be."""
        if not told and self.clock.told:
            return
        try:
            if not told:
                raise ValueError("this service lives in simulated time, which nobody has told it yet")
            self.clock.set(clock.parse(told))
        except ValueError as error:
            raise Refused(400, "invalid request", detail=[{"field": TIME.decode(), "reason": str(error)}]) from None

    def state(self) -> tuple[int, dict[str, str]]:
        """Return a status and how it fares: "ready", "degraded" where it answers with less, or "draining"."""
        down = self.predictor.online.ask()
        counters.ONLINE.set(down is None)
        counters.WRITTEN.set(self.log.failing is None)
        status = "degraded" if down or self.log.failing else "ready"
        state = {"online_store": down or "up", "event_log": self.log.failing or "up", "plan": self.predictor.plan.name}
        return (503, {"status": "draining", **state}) if self.draining else (200, {"status": status, **state})

    async def start(self) -> None:
        """Begin to take outcomes and to look for other plans; from now on, being told to terminate drains first."""
        await self._outcomes.start()
        gc.collect()
        gc.freeze()  # what is there now stays: looking through it again and again would stop requests for 50 ms
        self._watching = asyncio.create_task(self._switch.watch(self._use))
        if settings().serve.drain_seconds:
            self._drain_first(settings().serve.drain_seconds)

    async def stop(self) -> None:
        """Let go of everything, once no request is under way."""
        if self._watching:
            self._watching.cancel()
        await self._outcomes.stop()
        await asyncio.to_thread(self.log.close)
        self.store.close()
        await asyncio.to_thread(tracing.close)

    def _use(self, plan: Plan) -> None:
        self.predictor.plan = plan

    def _drain_first(self, seconds: float) -> None:
        """Put the drain before what the server does when it is told to terminate."""
        loop, terminate = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

        def drain(number: int, frame: Any) -> None:
            if not self.draining and callable(terminate):
                self.draining = True
                logger.info("draining for %g seconds", seconds)
                loop.call_soon_threadsafe(loop.call_later, seconds, terminate, number, frame)

        signal.signal(signal.SIGTERM, drain)
