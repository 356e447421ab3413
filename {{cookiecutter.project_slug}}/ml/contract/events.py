"""What the event log remembers: predictions, what shadows would have said, and outcomes; as columns of plain types.

A prediction is also its exposure: it names the experiment, the arm and the entity. Fields that the schema lists as
personal are hashed or left out before anything is written.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.contract import schema
from ml.contract.secrets import digest
from ml.errors import ContractError
from ml.features.definition import Array, Columns
from ml.features.table import CATEGORIES, MISSING, NUMBERS, Inputs
from ml.problem.schema import KEY as IDENTITY
from ml.problem.schema import PERSONAL

PREDICTIONS, SHADOWS, OUTCOMES = "predictions", "shadows", "outcomes"
KEY, FEATURES = "key.", "features."  # how columns begin that a problem names, so that none can meet one of ours

# What a column holds: "text" (None for none), "number" (float64), "single" (float32), "flag", "time" (UTC).
Kinds = Mapping[str, str]
TYPES = {"category": "text", "number": "number", "time": "time"}
ENTITY = {"experiment": "text", "arm": "text", "entity": "text"}

_FIELDS = {each.name: each.kind for each in schema.columns()}
if _wrong := {name: how for name, how in PERSONAL.items() if name not in _FIELDS or how not in ("hash", "drop")}:
    mend = f'{schema.MEND}: a field of the record, and "hash" or "drop"'
    raise ContractError("schema", f"PERSONAL says {_wrong}", mend)

LOGGED_KEY = tuple(name for name in IDENTITY if PERSONAL.get(name) != "drop")
# A number that is personal is left out either way: nothing can be computed with its hash.
LOGGED = tuple(each for each in NUMBERS if each.field not in PERSONAL) + tuple(
    each for each in CATEGORIES if PERSONAL.get(each.field or "") != "drop"
)
TABLES: Mapping[str, Kinds] = {
    # `time` is also the moment as of which windowed features were read; `degraded` says that the online store did not
    # answer then, `stored` that a batch run had made the score before, and `fallback` who answered for a model that
    # failed: "champion", "constant", or "" where none did.
    PREDICTIONS: {
        **{"request_id": "text", "time": "time", "bundle": "text", "score": "number", "decision": "flag"},
        **{"seconds": "number", "fallback": "text", "plan": "text", "degraded": "flag", "stored": "flag"},
        **ENTITY,
        **{KEY + name: "text" if name in PERSONAL else TYPES[_FIELDS[name]] for name in LOGGED_KEY},
        **{FEATURES + each.name: "single" if each.kind == "number" else "text" for each in LOGGED},
    },
    # `error` says why a shadow has no score: "timeout", "error", "shed" for want of time, or "" where it has one.
    SHADOWS: {
        **{"request_id": "text", "time": "time", "bundle": "text", "score": "number", "decision": "flag"},
        **{"seconds": "number", "error": "text", "plan": "text"},
        **{"champion": "text", "champion_score": "number", "champion_decision": "flag", "champion_seconds": "number"},
        **ENTITY,
    },
    OUTCOMES: {"request_id": "text", "time": "time", "outcome": "flag", "sender": "text"},
}


def new_request_ids(environment: str, count: int) -> list[str]:
    """Return ids that show that a service of this environment gave them: 32 random hex digits and 8 more, each."""
    drawn = np.frombuffer(os.urandom(16 * count), dtype=">u4").reshape(count, 4)
    written = np.column_stack([drawn, _checks(drawn, environment)]).astype(">u4").tobytes().hex()
    return [written[at : at + 40] for at in range(0, 40 * count, 40)]


def is_request_id(text: str, environment: str) -> bool:
    """Say whether a service of this environment gave the id: any pod can tell, and needs to remember nothing.

    It catches mistakes. It is no secret: who may send outcomes, a token decides.
    """
    if len(text) != 40 or set(text) - set("0123456789abcdef"):
        return False
    told = np.frombuffer(bytes.fromhex(text), dtype=">u4")
    return bool(_checks(told[None, :4], environment)[0] == told[4])


def _checks(drawn: NDArray[np.uint32], environment: str) -> NDArray[np.uint32]:
    """Return a sum over the words of each id, [n], by odd weights: whichever one word changes, it changes."""
    return np.asarray((drawn * _weights(environment)).sum(axis=1, dtype=np.uint32) + _weights(environment)[0])


@cache
def _weights(environment: str) -> NDArray[np.uint32]:
    return np.frombuffer(hashlib.sha256(environment.encode()).digest()[:16], dtype=np.uint32) | np.uint32(1)


def key_columns(records: Columns) -> dict[str, Array]:
    """Return what names each record in the log, a column a key field: times datetime64, the personal ones hashed."""
    return {KEY + name: _told(name, records[name]) for name in LOGGED_KEY}


def feature_columns(given: Inputs) -> dict[str, Array]:
    """Return the model's inputs as the log holds them: numbers float32, categories texts, the personal ones hashed."""
    place = {each.name: at for members in (NUMBERS, CATEGORIES) for at, each in enumerate(members)}
    return {
        FEATURES + each.name: given.numbers[:, place[each.name]]
        if each.kind == "number"
        else _told(each.field, given.categories[:, place[each.name]])
        for each in LOGGED
    }


def _told(field: str | None, values: Array) -> Array:
    if PERSONAL.get(field or "") != "hash":
        return values
    return np.array([hashed(value) for value in values.tolist()], dtype=object)


def hashed(value: Any) -> Any:
    """Return what the log holds of a personal value: a keyed hash that only this environment can make again."""
    if value is None or value != value:
        return None
    return digest("personal", str(value)) if value != MISSING else value


def entities(fields: Sequence[str], records: Columns) -> NDArray[np.object_]:
    """Return the hashed entity of each record: of the first field that has a value, None where none has."""
    named: list[str | None] = [None] * len(records[fields[0]])
    for field in fields:
        pairs = zip(named, records[field].tolist(), strict=True)
        named = [told or (None if value is None or value != value else entity(field, value)) for told, value in pairs]
    return np.array(named, dtype=object)


def entity(field: str, value: Any) -> str:
    """Return how the log calls the entity that a field's value names."""
    return digest("entity", f"{field}={value}")
