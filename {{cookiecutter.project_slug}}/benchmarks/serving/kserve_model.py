"""KServe's Python model server, as its example of a custom predictor has it, with the same graph."""

from typing import Any

from kserve import Model, ModelServer

from benchmarks.serving.bare import SCORER, inputs


class Peer(Model):
    """Scores the instances of a request of the V1 protocol."""

    def __init__(self) -> None:
        super().__init__("model")
        self.ready = True

    async def predict(
        self, payload: dict[str, Any], headers: Any = None, response_headers: Any = None
    ) -> dict[str, Any]:
        """Return the scores of some records."""
        return {"predictions": SCORER.score(inputs(payload["instances"])).tolist()}


if __name__ == "__main__":
    ModelServer(workers=1, enable_docs_url=False).start([Peer()])
