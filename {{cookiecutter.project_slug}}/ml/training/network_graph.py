"""The embedding network as an ONNX graph, written node by node: the same arithmetic, in the same float32."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ml.features.table import CATEGORIES, NUMBERS
from ml.models.network import LIMIT, EmbeddingNetwork

OPSET = {"": 21, "ai.onnx.ml": 3}
IR_VERSION = 10  # the file format that came with opset 21


class _Nodes:
    """Nodes and constants in the order in which they are asked for, so that the bytes repeat."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: NDArray[Any]) -> str:
        """Keep an array, and return its name."""
        self.constants.append(numpy_helper.from_array(values, f"constant_{len(self.constants)}"))
        return str(self.constants[-1].name)

    def node(self, kind: str, *given: str, output: str = "", **attributes: Any) -> str:
        """Add an operator with one output, and return that output's name."""
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(given), [output], name=output, **attributes))
        return output


def network_graph(network: EmbeddingNetwork) -> onnx.ModelProto:
    """Return a fitted network as a graph: inputs `numbers` and `categories`, output `probabilities`, float [n, 2].

    The inputs are those that `Scorer` feeds; one that the network does not use is not declared. The same network
    gives the same bytes. Operators: https://onnx.ai/onnx/operators/.
    """
    graph, inputs, parts = _Nodes(), [], []
    if network.numbers:
        inputs.append(helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, len(NUMBERS)]))
        parts.extend(_numbers(graph, network))
    if network.categories:
        inputs.append(helper.make_tensor_value_info("categories", TensorProto.STRING, [None, len(CATEGORIES)]))
        parts.extend(_categories(graph, network))
    layer = graph.node("Concat", *parts, axis=1)
    for weight, bias in zip(network.weights_[:-1], network.biases_[:-1], strict=True):
        layer = graph.node("Relu", graph.node("Gemm", layer, graph.constant(weight), graph.constant(bias)))
    logit = graph.node("Gemm", layer, graph.constant(network.weights_[-1]), graph.constant(network.biases_[-1]))
    positive = graph.node("Sigmoid", logit)
    negative = graph.node("Sub", graph.constant(np.ones(1, dtype=np.float32)), positive)
    graph.node("Concat", negative, positive, output="probabilities", axis=1)
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])
    made = helper.make_graph(graph.nodes, "network", inputs, [output], graph.constants)
    operators = [helper.make_opsetid(domain, version) for domain, version in OPSET.items()]
    return helper.make_model(made, opset_imports=operators, ir_version=IR_VERSION, producer_name="ml")


def _numbers(graph: _Nodes, network: EmbeddingNetwork) -> list[str]:
    """Fill, scale and cut the numbers, and say which were missing."""
    places = np.array(network.numbers, dtype=np.int64)
    numbers = graph.node("Gather", "numbers", graph.constant(places), axis=1)
    missing = graph.node("IsNaN", numbers)
    filled = graph.node("Where", missing, graph.constant(network.medians_), numbers)
    centred = graph.node("Sub", filled, graph.constant(network.means_))
    scaled = graph.node("Div", centred, graph.constant(network.scales_))
    parts = [graph.node("Clip", scaled, graph.constant(np.array(-LIMIT)), graph.constant(np.array(LIMIT)))]
    if len(network.flagged_):
        flags = graph.node("Cast", missing, to=TensorProto.FLOAT)
        parts.append(graph.node("Gather", flags, graph.constant(network.flagged_.astype(np.int64)), axis=1))
    return parts


def _categories(graph: _Nodes, network: EmbeddingNetwork) -> list[str]:
    """Look up the vector of each category; row 0 of a table is that of rare, unseen and missing ones."""
    vectors = []
    for place, vocabulary, table in zip(network.categories, network.vocabularies_, network.embeddings_, strict=True):
        column = graph.node("Gather", "categories", graph.constant(np.array(place - len(NUMBERS))), axis=1)
        names = ["", *vocabulary]  # never empty, which the operator refuses
        code = graph.node(
            "LabelEncoder",
            column,
            domain="ai.onnx.ml",
            keys_strings=names,
            values_int64s=list(range(len(names))),
            default_int64=0,
        )
        vectors.append(graph.node("Gather", graph.constant(table), code))
    return vectors
