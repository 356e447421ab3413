"""The bundle: a model with all that is needed to serve, check and watch it, named by the hash of its core.

The core (manifest, graph, reference, golden records, what it was fitted on) decides and is hashed; what lies beside
it (model card, whylogs profile) explains. A bundle is immutable: whoever loads one proves its hash first.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np

from ml.contract.reference import Reference
from ml.contract.schema import record_type
from ml.contract.scorer import Scorer
from ml.errors import ContractError
from ml.features.table import NAMES, WINDOWED, columns_of, inputs
from ml.store import files

CONTRACT = 4  # raised when a service of today could misread a bundle of tomorrow
MANIFEST = "bundle.json"
NEWEST = "newest"
PROFILE = "reference.whylogs"  # beside the core, as is the card
CARD = "model_card.md"
PAGE = "model_card.html"
CORE = (
    "fitted_on.json",
    "golden.json",
    "model.onnx",
    "reference.json",
    MANIFEST,
)  # the manifest last: with it a bundle is there
SAMPLED = 16  # one fitted record in so many leaves the hash of its key, by which an overlap is found
TOLERANCE = 1e-6  # of a golden score, across machines


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle whose hash was right."""

    digest: str
    manifest: dict[str, Any]
    model: bytes
    reference: Reference
    golden: list[dict[str, Any]]
    fitted_on: dict[str, list[str]]

    @property
    def rung(self) -> str:
        """The rung of the ladder that it is."""
        return str(self.manifest["rung"])

    @property
    def baseline(self) -> str:
        """The digest of the simplest rung of its ladder; its own where it is that rung."""
        return str(self.manifest["baseline"] or self.digest)

    @cached_property
    def scorer(self) -> Scorer:
        """The model, ready to score."""
        return Scorer(self.model, self.manifest["features"])

    @property
    def threshold(self) -> float:
        """The score from which the decision is to act, in 0..1."""
        return float(self.manifest["threshold"])

    def replay_golden(self) -> int:
        """Score the golden records again and return how many; raises ContractError when one differs."""
        records = [record_type().model_validate_json(json.dumps(each["record"])) for each in self.golden]
        known = {name: [each["known"].get(name) for each in self.golden] for name in (each.name for each in WINDOWED)}
        columns = columns_of(records) | {name: np.array(values, np.float64) for name, values in known.items()}
        scores = self.scorer.score(inputs(columns))
        apart = np.abs(scores - np.array([each["score"] for each in self.golden]))
        if not len(apart) or not apart.max() <= TOLERANCE:  # so that NaN is no match
            worst = f"{apart.max():.2g}" if len(apart) else "no golden record"
            raise ContractError(
                "bundle",
                f"golden records of {self.digest[:12]} do not score as when it was made ({worst})",
                "Train again",
            )
        return len(records)


def sums(core: dict[str, bytes]) -> bytes:
    """Return the hashes of a core's files with their names, as `sha256sum` writes them."""
    return "".join(f"{hashlib.sha256(core[name]).hexdigest()}  {name}\n" for name in sorted(CORE)).encode()


def digest_of(core: dict[str, bytes]) -> str:
    """Return the name of a bundle: the SHA-256 of its sums."""
    return hashlib.sha256(sums(core)).hexdigest()


def dump(content: Any) -> bytes:
    """Return JSON that is the same bytes for the same content."""
    return json.dumps(content, sort_keys=True, indent=1, allow_nan=False).encode()


def folder(store: str, digest: str) -> str:
    """Return where a bundle lies in the store."""
    return files.join(store, "bundles", digest)


def save(store: str, core: dict[str, bytes], beside: dict[str, bytes]) -> str:
    """Put a bundle into the store and return its digest; one that is there already stays as it is."""
    digest = digest_of(core)
    home = folder(store, digest)
    if _core(home) != core:
        for name in [*beside, *CORE]:
            files.write(files.join(home, name), {**beside, **core}[name])
    name_newest(store, digest)
    return digest


def name_newest(store: str, digest: str) -> None:
    """Say which bundle is meant where none is named."""
    files.write(files.join(store, "bundles", NEWEST), digest.encode())


def newest(store: str) -> str:
    """Return the digest of the bundle that was saved last."""
    try:
        return files.read(files.join(store, "bundles", NEWEST)).decode()
    except FileNotFoundError:
        raise ContractError("bundle", f"there is no bundle in {store}", "Run `ml pipeline run`") from None


def _core(home: str) -> dict[str, bytes] | None:
    """Return the core that lies in a folder, or None where it is not whole."""
    try:
        return {name: files.read(files.join(home, name)) for name in CORE}
    except FileNotFoundError:
        return None


def _refuse_other_contracts(home: str, digest: str) -> None:
    """Raise ContractError for a bundle of another contract, whose core may have other files than ours."""
    try:
        contract = json.loads(files.read(files.join(home, MANIFEST)))["contract"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return  # absent or altered, which its hash will tell
    if contract != CONTRACT:
        broken = f"{digest[:12]} is of contract {contract}, this code reads {CONTRACT}"
        raise ContractError(
            "bundle",
            broken,
            "Upgrade the service"
            if contract > CONTRACT
            else "Train again; if it is released, remove its release file first",
        )


def proved(store: str, digest: str) -> dict[str, bytes]:
    """Return the files of a bundle's core; raises ContractError when it is absent, altered, or of another contract."""
    home = folder(store, digest)
    _refuse_other_contracts(home, digest)
    core = _core(home)
    if core is None:
        raise ContractError("bundle", f"there is no bundle {digest[:12]} in {store}", "Run `ml register`")
    found = digest_of(core)
    if found != digest:
        raise ContractError("bundle", f"{home} was altered: its core hashes to {found[:12]}", "Register it again")
    return core


def load(store: str, digest: str) -> Bundle:
    """Return a bundle; raises ContractError as `proved` does, and for a feature that is no longer computed."""
    core = proved(store, digest)
    manifest = json.loads(core[MANIFEST])
    if absent := [name for name in manifest["features"] if name not in NAMES]:
        broken = f"{digest[:12]} was trained on {absent[0]}, which ml/problem/features.py no longer computes"
        raise ContractError("bundle", broken, "Keep the feature while the bundle is in use, or train again")
    reference = Reference.load(core["reference.json"])
    golden, fitted_on = json.loads(core["golden.json"]), json.loads(core["fitted_on.json"])
    return Bundle(digest, manifest, core["model.onnx"], reference, golden, fitted_on)


def ladder(store: str, digest: str) -> dict[str, str]:
    """Return the digests of all rungs that were sealed by the training that made a bundle, by name."""
    made = load(store, digest).manifest
    found = {}
    for name in names(store):
        other = manifest(store, name)
        if all(other.get(key) == made[key] for key in ("provenance", "fit", "ladder")):
            found[str(other["rung"])] = name
    return found


def names(store: str) -> list[str]:
    """Return the digests of all bundles of a store."""
    return [name for name in files.names(files.join(store, "bundles")) if name != NEWEST]


def resolve(store: str, digest: str | None) -> str:
    """Return the full digest of the bundle that begins with `digest`, or of the newest."""
    if digest is None:
        return newest(store)
    found = [name for name in names(store) if name.startswith(digest)]
    if len(found) != 1:
        mend = "Give more of the digest" if found else "`ml bundles list` shows what there is"
        raise ContractError("bundle", f"{len(found)} bundles begin with {digest!r}", mend)
    return found[0]


def manifest(store: str, digest: str) -> dict[str, Any]:
    """Return what a bundle says of itself, without proof; raises ContractError where there is no such bundle."""
    try:
        return dict(json.loads(files.read(files.join(folder(store, digest), MANIFEST))))
    except FileNotFoundError:
        raise ContractError("bundle", f"there is no bundle {digest[:12]} in {store}", "Run `ml register`") from None


def trained_until(manifest: dict[str, Any]) -> date:
    """Return the newest day that a bundle was fitted or tested on."""
    return date.fromisoformat(max(manifest["fit"]["span"][1], manifest["test"]["days"][-1]))


def remove(store: str, digest: str) -> None:
    """Take a bundle out of a store, the manifest last: until then it is listed, and can be removed again."""
    home = folder(store, digest)
    for name in sorted(files.names(home), key=lambda name: name == MANIFEST):
        files.remove(files.join(home, name))
    files.clear(home)
