"""The BentoML service, and the only place that knows BentoML: health and metrics around our endpoints.

POST /predict is answered by `Endpoints`, a middleware in front of the route declared here: that gives BentoML the types
for its own clients.
"""

from functools import cache
from typing import Any

import bentoml

from ml import logs
from ml.contract.schema import record_type
from ml.serving.endpoints import BUSY, Endpoints
from ml.serving.predictor import Answer
from ml.serving.process import Process

Record: Any = record_type()
logs.configure()  # BentoML has configured its own before it loads this


@cache
def process() -> Process:
    """Begin what this process serves, once; raises ContractError when it must not serve."""
    return Process()


@bentoml.service(name="ml", workers=1, traffic={"timeout": 30, "max_concurrency": BUSY})
class Service:
    """Predictions by the release of this environment."""

    def __init__(self) -> None:
        self._process = process()  # replays the golden records: not ready before

    @bentoml.api(route="/predict")
    def predict(self, record: Record, /) -> Answer:
        """Score one record, or a list of them; a list is answered by a list in the same order."""
        raise AssertionError("Endpoints answers this route")


Service.add_asgi_middleware(  # type: ignore[attr-defined]
    Endpoints, process=process
)
