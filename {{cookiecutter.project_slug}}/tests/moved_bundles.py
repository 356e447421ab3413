"""Makes of a trained bundle others that are whole and score otherwise, and signs what nobody should have signed."""

import json

import onnx
from onnx.helper import make_node, make_tensor

from ml.attestation.attest import SUMS, VERDICT
from ml.attestation.signing import Key
from ml.attestation.statement import Statement, Subject
from ml.contract import bundle as bundles
from ml.contract import verdict
from ml.settings import settings
from ml.store import files


def moved(store: str, digest: str, by: float, times: float = 1.0) -> str:
    """Return a bundle that scores `times` as another does, and `by` more: by 1, no score is a probability."""
    core = dict(bundles.proved(store, digest))
    graph = onnx.load_from_string(core["model.onnx"])
    for node in graph.graph.node:
        node.output[:] = ["unmoved" if name == "probabilities" else name for name in node.output]
    for name, value in (("by", by), ("times", times)):
        graph.graph.initializer.append(make_tensor(name, onnx.TensorProto.FLOAT, [1], [value]))
    graph.graph.node.append(make_node("Mul", ["unmoved", "times"], ["stretched"]))
    graph.graph.node.append(make_node("Add", ["stretched", "by"], ["probabilities"]))
    golden = [{**each, "score": times * each["score"] + by} for each in json.loads(core["golden.json"])]
    core |= {"model.onnx": graph.SerializeToString(), "golden.json": bundles.dump(golden)}
    return bundles.save(store, core, {})


def pass_anyway(digest: str, other: str) -> None:
    """Attest of a bundle that the gate let it pass, as it did another one, and as nobody should."""
    conf = settings()
    (against,) = files.names(verdict.folder(conf.store_url, other, ""))
    judged = verdict.load(conf.store_url, other, against)
    assert judged
    told = judged.model_copy(update={"challenger": judged.challenger.model_copy(update={"bundle": digest})})
    subject = Subject(SUMS, digest, bundles.sums(bundles.proved(conf.store_url, digest)))
    statement = Statement(subject, VERDICT, told.model_dump(mode="json"))
    Key(conf.public_key).sign(conf.store_url, statement, conf.signing_key, "as a pass")
