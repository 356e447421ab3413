"""The only place that runs a model: one ONNX graph, one thread, no data frame."""

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ml.features.table import NAMES, Inputs

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime loads
import onnxruntime


class Scorer:
    """Preprocessing and model as one graph: inputs `numbers` and `categories`, output `probabilities`.

    `features` names what the graph was fitted on; today's code may compute more.
    """

    def __init__(self, model: bytes, features: Sequence[str] = NAMES) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._asks = [given.name for given in self._session.get_inputs()]  # a problem may have numbers only
        self._features = None if tuple(features) == NAMES else list(features)

    def score(self, inputs: Inputs) -> NDArray[np.float64]:
        """Return the probability of the positive class, [n], in 0..1."""
        if not len(inputs.numbers):
            return np.empty(0)
        given = inputs if self._features is None else inputs.of(self._features)
        (probabilities,) = self._session.run(["probabilities"], {name: getattr(given, name) for name in self._asks})
        return np.asarray(probabilities[:, 1], dtype=np.float64)
