"""The BentoML service, and the only place that knows BentoML: health, metrics and OpenAPI around our endpoints.

POST /predict and /outcomes are answered by `Endpoints`, a middleware in front of the routes declared here: those
give BentoML the types for OpenAPI and for its own clients.
"""

from functools import cache
from typing import Any

import bentoml

from ml.contract import bundle, release
from ml.contract.clock import Clock
from ml.contract.schema import record_type
from ml.features.online import Online
from ml.online.store import connect
from ml.serving.endpoints import Endpoints
from ml.serving.predictor import Answer, Observed, Predictor
from ml.settings import settings
from ml.store import files

Record: Any = record_type()


@cache
def predictor() -> Predictor:
    """Load the champion of this process's environment, once; raises ContractError when it must not serve."""
    conf = settings()
    champion = release.read().champion
    folder = files.local(conf.events_url, "events")
    online = Online(connect(conf.online_url))
    return Predictor(bundle.load(conf.store_url, champion), folder, Clock(conf.serve.clock), online)


@bentoml.service(name="ml", workers=1, traffic={"timeout": 30, "max_concurrency": 256})
class Service:
    """Predictions of the champion, and outcomes of earlier predictions."""

    def __init__(self) -> None:
        self._predictor = predictor()  # replays the golden records: not ready before

    def __is_ready__(self) -> bool:
        return self._predictor is not None

    @bentoml.on_shutdown
    def close(self) -> None:
        """Close the event log."""
        self._predictor.close()

    @bentoml.api(route="/predict")
    def predict(self, record: Record, /) -> Answer:
        """Score one record, or a list of up to ten thousand; a list is answered by a list in the same order."""
        return self._predictor.predict([record])[0]

    @bentoml.api(route="/outcomes")
    def outcomes(self, observed: Observed, /) -> dict[str, int]:
        """Take the outcome of an earlier prediction, or a list of outcomes; 404 names an unknown request."""
        return {"accepted": self._predictor.observe([observed])}


Service.add_asgi_middleware(  # type: ignore[attr-defined]
    Endpoints, predictor=predictor
)
