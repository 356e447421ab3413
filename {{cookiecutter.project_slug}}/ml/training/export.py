"""The only place that knows ONNX converters: a fitted rung becomes one graph, proved equal on real rows."""

import re
import warnings
from typing import Any

import numpy as np
from lightgbm import Booster, LGBMClassifier
from onnx import TensorProto
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from sklearn.base import ClassifierMixin
from sklearn.dummy import DummyClassifier

from ml.contract.scorer import Scorer
from ml.errors import ContractError
from ml.features.table import CATEGORIES, NUMBERS
from ml.training.window import Part

TOLERANCE = 1e-5
OPSET = {"": 21, "ai.onnx.ml": 3}
OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False]}


def export(rung: ClassifierMixin, sample: Part) -> bytes:
    """Return the fitted rung, preprocessing and all, as an ONNX graph.

    Raises ContractError unless the graph scores `sample` as the rung does, within 1e-5.
    """
    last = rung[-1] if hasattr(rung, "steps") else rung
    if isinstance(last, LGBMClassifier):
        _round_thresholds(last)
    kinds = [
        ("numbers", FloatTensorType([None, len(NUMBERS)]), NUMBERS),
        ("categories", StringTensorType([None, len(CATEGORIES)]), CATEGORIES),
    ]
    given = [(name, kind) for name, kind, features in kinds if features]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # converters announce every opset they do not know yet
        graph = to_onnx(rung, initial_types=given, options={id(last): {"zipmap": False}}, target_opset=OPSET)
    operators = sorted(graph.opset_import, key=lambda each: each.domain)  # they come in the order of a set
    del graph.opset_import[:]
    graph.opset_import.extend(operators)
    model = bytes(graph.SerializeToString())
    apart = np.abs(Scorer(model).score(sample.inputs) - rung.predict_proba(sample.frame)[:, 1]).max()
    if apart > TOLERANCE:
        raise ContractError(
            "export",
            f"the ONNX graph scores up to {apart:.2g} apart from the model",
            "Edit ml/problem/models.py",
        )
    return model


def _round_thresholds(model: LGBMClassifier) -> None:
    """Replace every split threshold by the largest float32 not above it.

    The graph compares float32 values. For those, `value <= threshold` answers the same before and after, while
    rounding to the nearest, as the converter would, sends values between the two down the other branch.
    """

    def rounded(line: re.Match[str]) -> str:
        exact = np.array(line[1].split(), dtype=np.float64)
        single = exact.astype(np.float32)
        single = np.where(single > exact, np.nextafter(single, np.float32(-np.inf)), single)
        return "threshold=" + " ".join(repr(float(value)) for value in single)

    text = re.sub(r"^threshold=(.+)$", rounded, model.booster_.model_to_string(), flags=re.MULTILINE)
    text = re.sub(r"^tree_sizes=.*\n", "", text, flags=re.MULTILINE)  # byte offsets of the text as it was
    model._Booster = Booster(model_str=text)


def _constant_shape(operator: Any) -> None:
    operator.outputs[0].type, operator.outputs[1].type = Int64TensorType([None]), FloatTensorType([None, 2])


def _convert_constant(scope: Any, operator: Any, container: Any) -> None:
    """Write DummyClassifier(strategy="prior") as the prior, once for each row of the first input."""
    prior = operator.raw_operator.class_prior_.astype(np.float32)
    label, scores = (output.onnx_name for output in operator.outputs)

    def constant(kind: int, values: list[Any]) -> str:
        name = scope.get_unique_variable_name("constant")
        container.add_initializer(name, kind, [len(values)], values)
        return str(name)

    def node(kind: str, given: list[str], output: str | None = None, **attributes: Any) -> str:
        output = output or scope.get_unique_variable_name(kind)
        container.add_node(kind, given, output, name=scope.get_unique_operator_name(kind), op_version=13, **attributes)
        return str(output)

    shape = node("Shape", [operator.inputs[0].onnx_name])
    rows = node("Gather", [shape, constant(TensorProto.INT64, [0])])
    table = node("Concat", [rows, constant(TensorProto.INT64, [2])], axis=0)
    node("Expand", [constant(TensorProto.INT64, [int(prior.argmax())]), rows], label)
    node("Expand", [constant(TensorProto.FLOAT, prior.tolist()), table], scores)


update_registered_converter(DummyClassifier, "Constant", _constant_shape, _convert_constant, options=OPTIONS)
update_registered_converter(
    LGBMClassifier, "LightGBM", calculate_linear_classifier_output_shapes, convert_lightgbm, options=OPTIONS
)
