"""Brings a release to work, and a changed one without a restart, as long as its bundles are here already.

New bundles come by a rolling update of the service: loading one takes memory and time that no request shall feel.
"""

import asyncio
import logging
from collections.abc import Callable

from ml.contract import bundle, release
from ml.contract.bundle import Bundle
from ml.contract.release import Release
from ml.errors import ContractError
from ml.serving import counters
from ml.serving.plan import Plan
from ml.settings import settings

LOOK = 1.0  # seconds between two looks at the release file

logger = logging.getLogger("ml.serving")


class Switch:
    """The bundles of this process, and the plan of them that is at work."""

    def __init__(self) -> None:
        told = release.read()
        self._bundles = {digest: _proved(bundle.load(settings().store_url, digest)) for digest in told.digests}
        self._refused = ""  # a plan
        self.plan = self._begin(told)

    def _begin(self, told: Release) -> Plan:
        plan = Plan(told, self._bundles)
        counters.PLAN.labels(plan.name).set(1)
        return plan

    async def watch(self, use: Callable[[Plan], None]) -> None:
        """Look at the release file for ever, and hand on each plan that is new."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                told = release.read()
                if told.plan not in (self.plan.name, self._refused):  # other images are no other plan
                    self._take(told, use)
            except ContractError as error:  # half written, or wrong: what is at work goes on
                logger.error("%s", error)
            except Exception:
                logger.exception("the release cannot be taken; what is at work goes on")

    def _take(self, told: Release, use: Callable[[Plan], None]) -> None:
        if absent := [digest for digest in told.digests if digest not in self._bundles]:
            logger.warning("plan %s needs bundle %s: restart the service, one by one", told.plan, absent[0][:12])
            self._refused = told.plan
            return
        for digest in told.digests:
            _proved(self._bundles[digest])
        before, self.plan = self.plan, self._begin(told)
        use(self.plan)
        counters.PLAN.labels(before.name).set(0)
        before.close()
        logger.info("plan %s took the place of %s", self.plan.name, before.name)


def _proved(found: Bundle) -> Bundle:
    found.replay_golden()
    return found
