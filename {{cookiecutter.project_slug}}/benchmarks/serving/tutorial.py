"""BentoML as its tutorial has it: a service with a typed method; the same graph, and nothing of ours around it."""

from typing import Any

import bentoml

from benchmarks.serving.bare import SCORER, inputs
from ml.contract.schema import record_type

Record: Any = record_type()


@bentoml.service(name="tutorial", workers=1)
class Tutorial:
    """Scores one record."""

    @bentoml.api(route="/predict")
    def predict(self, record: Record, /) -> dict[str, float]:
        """Return the score of one record."""
        return {"score": float(SCORER.score(inputs([record.model_dump()]))[0])}
