"""A challenger elsewhere: another service with our POST /predict, which computes its own features."""

import json
from collections.abc import Sequence

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from ml.features.table import Inputs


class Remote:
    """Asks a service for scores."""

    def __init__(self, url: str, patience: float) -> None:
        self._client = httpx.Client(base_url=url, timeout=patience)

    def score(self, given: Inputs, records: Sequence[BaseModel]) -> NDArray[np.float64]:
        """Return the service's scores of records, [n]; raises httpx.HTTPError, or KeyError for no answer of ours."""
        body = json.dumps([record.model_dump(mode="json") for record in records])
        try:
            answer = self._client.post("/predict", content=body).raise_for_status().json()
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        return np.array([each["score"] for each in answer], dtype=np.float64)
