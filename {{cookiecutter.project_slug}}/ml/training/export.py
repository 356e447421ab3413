"""The only place that knows ONNX converters: a fitted rung becomes one graph, proved equal on real rows."""

import re
import warnings
from typing import Any

import numpy as np
from lightgbm import Booster, LGBMClassifier
from onnx import ModelProto, TensorProto
from onnx.helper import make_node, make_tensor
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from sklearn.base import ClassifierMixin
from sklearn.dummy import DummyClassifier

from ml.contract.scorer import Scorer
from ml.errors import ContractError
from ml.features.rows import Rows
from ml.features.table import CATEGORIES, NUMBERS
from ml.models.network import EmbeddingNetwork
from ml.models.skew import Skewed
from ml.statistics.calibration import LEAST
from ml.training.calibrate import Calibration
from ml.training.network_graph import network_graph

TOLERANCE = 1e-5
OUTPUT = "probabilities"
OPSET = {"": 21, "ai.onnx.ml": 3}
OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False]}


def export(rung: ClassifierMixin, calibration: Calibration, sample: Rows) -> bytes:
    """Return the fitted rung, preprocessing, model and calibration, as one ONNX graph.

    Raises ContractError unless the graph scores `sample` as the calibrated rung does, within 1e-5.
    """
    inner, shift = (rung.estimator_, rung.shift) if isinstance(rung, Skewed) else (rung, 0.0)
    graph = network_graph(inner) if isinstance(inner, EmbeddingNetwork) else _converted(inner)
    slope, intercept = calibration.slope, calibration.slope * shift + calibration.intercept
    if (slope, intercept) != (1.0, 0.0):
        map_logit(graph, slope, intercept)
    operators = sorted(graph.opset_import, key=lambda each: each.domain)  # they come in the order of a set
    del graph.opset_import[:]
    graph.opset_import.extend(operators)
    model = bytes(graph.SerializeToString())
    expected = calibration.applied(rung.predict_proba(sample.frame)[:, 1])
    apart = np.abs(Scorer(model).score(sample.inputs) - expected).max()
    if not apart <= TOLERANCE:  # so that NaN is no match
        raise ContractError(
            "export",
            f"the ONNX graph scores up to {apart:.2g} apart from the model",
            "Edit ml/problem/models.py",
        )
    return model


def _converted(rung: ClassifierMixin) -> ModelProto:
    """Return what skl2onnx makes of a rung."""
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
        return to_onnx(rung, initial_types=given, options={id(last): {"zipmap": False}}, target_opset=OPSET)


def map_logit(model: ModelProto, slope: float, intercept: float) -> None:
    """Let a graph's output `probabilities`, [n, 2], become those of slope * logit + intercept."""
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["uncalibrated" if name == OUTPUT else name for name in node.output]
        node.input[:] = ["uncalibrated" if name == OUTPUT else name for name in node.input]
    constants = {"slope": slope, "intercept": intercept, "least": LEAST, "most": 1 - LEAST, "one": 1.0}
    graph.initializer.extend(
        make_tensor(f"map_{name}", TensorProto.FLOAT, [1], [each]) for name, each in constants.items()
    )
    graph.initializer.append(make_tensor("map_positive", TensorProto.INT64, [1], [1]))
    for kind, given, made in (
        ("Gather", ["uncalibrated", "map_positive"], "map_score"),
        ("Max", ["map_score", "map_least"], "map_low"),
        ("Min", ["map_low", "map_most"], "map_inside"),
        ("Sub", ["map_one", "map_inside"], "map_rest"),
        ("Div", ["map_inside", "map_rest"], "map_odds"),
        ("Log", ["map_odds"], "map_logit"),
        ("Mul", ["map_logit", "map_slope"], "map_sloped"),
        ("Add", ["map_sloped", "map_intercept"], "map_moved"),
        ("Sigmoid", ["map_moved"], "map_calibrated"),
        ("Sub", ["map_one", "map_calibrated"], "map_other"),
    ):
        graph.node.append(make_node(kind, given, [made], **({"axis": 1} if kind == "Gather" else {})))
    graph.node.append(make_node("Concat", ["map_other", "map_calibrated"], [OUTPUT], axis=1))


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
