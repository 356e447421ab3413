"""Makes bundles for the gate to judge: real ones, changed or trained badly in one respect and honest in all others."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import onnx
from onnx.helper import make_node, make_tensor
from sklearn.base import ClassifierMixin, clone

from ml.contract import bundle as bundles
from ml.contract.bundle import CORE, Bundle
from ml.contract.framing import framing
from ml.contract.scorer import Scorer
from ml.features.leakage import probes
from ml.features.rows import Rows, records_of, rows_of
from ml.features.table import NAMES, NUMBERS
from ml.problem.models import ladder
from ml.statistics.metrics import losses
from ml.store import files
from ml.training.calibrate import Calibration
from ml.training.export import export
from ml.training.register import fitted_on, golden

AS_IS = Calibration(1.0, 0.0)


class Workshop:
    """A store with the registered bundle, the rows it was fitted and tested on, and what is made of both."""

    def __init__(self, store: str, digest: str, lake: str) -> None:
        self.store, self.lake = store, lake
        self.champion = bundles.load(store, digest)
        self.fit = rows_of(records_of(lake, _dates(self.champion.fitted_on["days"])))
        self.test_records = records_of(lake, _dates(self.champion.manifest["test"]["days"]))
        self.test = rows_of(self.test_records)

    def made(self, model: bytes | None = None, on: Rows | None = None, **manifest: Any) -> Bundle:
        """Return the registered bundle with another graph, other rows that it was fitted on, other words of it.

        Its golden scores and what it claims of its test days are those of the graph.
        """
        home = bundles.folder(self.store, self.champion.digest)
        core = {name: files.read(files.join(home, name)) for name in CORE}
        told = json.loads(core[bundles.MANIFEST])
        if model is not None:
            scorer = Scorer(model)
            core["model.onnx"] = model
            core["golden.json"] = bundles.dump(golden(self.test_records, scorer))
            loss = losses(self.test.outcomes, scorer.score(self.test.inputs))[framing().task.metric].mean()
            told["ladder"][told["rung"]]["test"][framing().task.metric]["value"] = float(loss)
        if on is not None:
            told["leakage"] = [probe._asdict() for probe in probes(on)]
            days = sorted(set(on.days.tolist()))
            told["fit"]["span"] = [days[0], days[-1]]
            core["fitted_on.json"] = bundles.dump(fitted_on(on, days))
        core[bundles.MANIFEST] = bundles.dump(told | manifest)
        return bundles.load(self.store, bundles.save(self.store, core, {}))

    def trained(self, on: Rows, rung: ClassifierMixin | None = None, calibration: Calibration = AS_IS) -> Bundle:
        """Return a bundle that was truly fitted on some rows; by default a logistic regression."""
        return self.sealed(clone(rung or ladder(1, 1)["logistic"]).fit(on.frame, on.outcomes), on, calibration)

    def sealed(self, estimator: ClassifierMixin, on: Rows, calibration: Calibration = AS_IS) -> Bundle:
        """Return a bundle of an estimator that was fitted on some rows."""
        return self.made(export(estimator, calibration, on), on)

    def burdened(self, burden: Callable[[onnx.ModelProto], str]) -> Bundle:
        """Return the registered model with something in its graph that costs and changes nothing."""
        graph = onnx.load_from_string(self.champion.model)
        for node in graph.graph.node:
            node.output[:] = ["unburdened" if name == "probabilities" else name for name in node.output]
        nothing = burden(graph)
        graph.graph.node.append(make_node("Add", ["unburdened", nothing], ["probabilities"]))
        return self.made(graph.SerializeToString())


def relabelled(rows: Rows, where: np.ndarray, rate: float, seed: int = 0) -> Rows:
    """Return rows in which some outcomes are chance."""
    drawn = (np.random.default_rng(seed).random(len(rows.outcomes)) < rate).astype(np.int64)
    return replace(rows, outcomes=np.where(where, drawn, rows.outcomes))


def leaking(rows: Rows, feature: str, seed: int = 0) -> Rows:
    """Return rows in which a number knows the outcome."""
    numbers = rows.inputs.numbers.copy()
    noise = np.random.default_rng(seed).normal(0, 0.2, len(rows.outcomes))
    numbers[:, NAMES.index(feature)] = rows.outcomes + noise
    return replace(rows, inputs=rows.inputs._replace(numbers=numbers))


def together(one: Rows, other: Rows) -> Rows:
    """Return the rows of both."""
    inputs = type(one.inputs)(*(np.concatenate(pair) for pair in zip(one.inputs, other.inputs, strict=True)))
    return Rows(
        inputs,
        np.concatenate([one.outcomes, other.outcomes]),
        np.concatenate([one.days, other.days]),
        np.concatenate([one.keys, other.keys]),
    )


def slow(graph: onnx.ModelProto) -> str:
    """Multiply matrices for nothing; they depend on the input, so that nothing is computed ahead."""
    side = 400
    graph.graph.initializer.extend(
        [
            make_tensor("burden_side", onnx.TensorProto.INT64, [2], [side, side]),
            make_tensor("burden_zero", onnx.TensorProto.FLOAT, [1], [0.0]),
            make_tensor("burden_first", onnx.TensorProto.INT64, [1], [0]),
        ]
    )
    nodes = [
        make_node("ReduceMean", ["unburdened"], ["burden_mean"], keepdims=0),
        make_node("Expand", ["burden_mean", "burden_side"], ["burden_0"]),
    ]
    nodes += [
        node
        for step in range(6)
        for node in (
            make_node("MatMul", [f"burden_{step}", "burden_0"], [f"burden_product_{step}"]),
            make_node("Sigmoid", [f"burden_product_{step}"], [f"burden_{step + 1}"]),
        )
    ]
    nodes += [
        make_node("ReduceMean", ["burden_6"], ["burden_sum"], keepdims=0),
        make_node("Mul", ["burden_sum", "burden_zero"], ["burden"]),
    ]
    graph.graph.node.extend(nodes)
    return "burden"


def big(graph: onnx.ModelProto) -> str:
    """Carry six megabytes of numbers, of which the smallest, zero, is added."""
    numbers = np.arange(1_500_000, dtype=np.float32)
    graph.graph.initializer.append(
        make_tensor("burden_numbers", onnx.TensorProto.FLOAT, [len(numbers)], numbers.tobytes(), raw=True)
    )
    graph.graph.node.append(make_node("ReduceMin", ["burden_numbers"], ["burden"], keepdims=0))
    return "burden"


def hungry(graph: onnx.ModelProto) -> str:
    """Hold a hundred and sixty megabytes for a batch of a thousand, and add their minimum, zero."""
    graph.graph.initializer.extend(
        [
            make_tensor("burden_shape", onnx.TensorProto.INT64, [2], [40, 1]),
            make_tensor("burden_zero", onnx.TensorProto.FLOAT, [1], [0.0]),
            make_tensor("burden_repeats", onnx.TensorProto.INT64, [2], [1, 20_000]),
        ]
    )
    graph.graph.node.extend(
        [
            make_node("Tile", ["unburdened", "burden_repeats"], ["burden_tiles"]),
            make_node("ReduceMax", ["burden_tiles"], ["burden_max"], keepdims=0),
            make_node("Mul", ["burden_max", "burden_zero"], ["burden"]),
        ]
    )
    return "burden"


def backwards(rows: Rows) -> Rows:
    """Return rows whose day runs from evening to morning."""
    numbers = rows.inputs.numbers.copy()
    minute = [feature.name for feature in NUMBERS].index("departure_minute")
    numbers[:, minute] = 1439 - numbers[:, minute]
    return replace(rows, inputs=rows.inputs._replace(numbers=numbers))


def _dates(days: list[str]) -> list[date]:
    return [date.fromisoformat(day) for day in days]
