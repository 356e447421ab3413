"""Step 6: seal the chosen rung, and the others beside it, with all that gate, serving and monitoring need."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ml.contract import bundle, schema
from ml.contract.framing import framing
from ml.contract.profile import Profile
from ml.contract.reference import Bins, Reference, Variable, by_day
from ml.contract.scorer import Scorer
from ml.errors import ContractError
from ml.features.rows import Rows, from_parquet
from ml.features.table import (
    CATEGORIES,
    MISSING,
    NAMES,
    NUMBERS,
    SCORE,
    WINDOWED,
    columns_of_frame,
    inputs,
    json_of_frame,
)
from ml.progress import say
from ml.training import fitted
from ml.training.card import card
from ml.training.fitted import Fitted
from ml.training.later import sums_of_days
from ml.training.provenance import provenance

GOLDEN = 64  # records that every service scores again before it is ready


class Made(NamedTuple):
    """What the steps before have written."""

    records: Path
    validation: Path
    table: Path
    leakage: Path
    models: list[Path]
    evaluation: Path


def register(made: Made, store: str) -> str:
    """Put the bundle into the store and return its digest; refuses data that was not found valid.

    The other rungs are sealed as well: the simplest is the champion that the first model has to beat, and each can be
    tried out beside the champion.
    """
    checked = json.loads(made.validation.read_text())
    if not checked["success"]:
        raise ContractError("data", "the records were not found valid", "Run `ml validate`")
    came = provenance(made.records)
    if checked["data"] != came["data"]:
        raise ContractError("data", "other records were found valid than these", "Run `ml validate`")
    judged = json.loads(made.evaluation.read_text())
    days = judged["fit"].pop("days")
    manifest = {
        "contract": bundle.CONTRACT,
        "threshold": framing().cost.costs.threshold,
        "features": list(NAMES),
        "schema": schema.record_type().model_json_schema(),
        "fit": judged["fit"] | {"span": [days[0], days[-1]]},
        "test": judged["test"],
        "rungs": judged["rungs"],  # simplest first; keys of a table have no order
        "ladder": judged["ladder"],
        "leakage": json.loads(made.leakage.read_text()),
        "data_checks": checked["statistics"],
        "provenance": came,
    }
    sealing = Sealing(store, pd.read_parquet(made.records), from_parquet(made.table), days)
    rungs = {each.rung: (each, graph) for each, graph in fitted.read(made.models)}
    (simplest, *others), chosen, digests = rungs, judged["chosen"], dict[str, str]()
    explained = {"importance": judged["importance"], "contributions": judged["contributions"]}
    for rung in [simplest, *others]:
        own = manifest | {"baseline": digests.get(simplest)} | (explained if rung == chosen != simplest else {})
        digests[rung] = sealing.seal(own, *rungs[rung])
    digest = digests[chosen]
    bundle.name_newest(store, digest)
    replayed = bundle.load(store, digest).replay_golden()
    say(
        "register",
        f"bundle {digest[:12]} ({chosen}), {replayed} golden records replayed, in {bundle.folder(store, digest)}",
    )
    return digest


class Sealing:
    """What bundles of one training have in common: records, rows, days fitted on, profile and bins of the inputs."""

    def __init__(self, store: str, records: pd.DataFrame, whole: Rows, days: list[str]) -> None:
        self._store, self._records, self._whole = store, records, whole
        self._profile = Profile.of(whole.frame)
        self._variables = variables(whole)
        self._fitted_on = fitted_on(whole, days)

    def seal(self, manifest: dict[str, Any], rung: Fitted, graph: bytes) -> str:
        """Save one rung's bundle and return its digest."""
        manifest = manifest | {"rung": rung.rung}
        scorer, test = Scorer(graph), self._whole.of(manifest["test"]["days"])
        scores = scorer.score(self._whole.inputs)
        core = {
            bundle.MANIFEST: bundle.dump(manifest),
            "model.onnx": graph,
            "fitted_on.json": bundle.dump(self._fitted_on),
            "reference.json": reference(self._whole, self._variables, scores, rung).dump(),
            "golden.json": bundle.dump(golden(self._records, scorer)),
        }
        profile = self._profile.merge(Profile.of(pd.DataFrame({SCORE: scores})))
        beside = card(manifest, test, scorer.score(test.inputs)) | {bundle.PROFILE: profile.dump()}
        return bundle.save(self._store, core, beside)


def fitted_on(whole: Rows, days: list[str]) -> dict[str, list[str]]:
    """Return the days that were fitted on, and of each sixteenth record of them the hash of its key."""
    keys = whole.of(days).keys
    return {"days": days, "keys": [f"{key:016x}" for key in np.sort(keys[keys % bundle.SAMPLED == 0]).tolist()]}


def golden(records: pd.DataFrame, scorer: Scorer) -> list[dict[str, Any]]:
    """Return evenly spaced records as a client sends them, what was known besides, and the scores they must get."""
    rows = np.unique(np.linspace(0, len(records) - 1, GOLDEN).astype(int))
    chosen = records.iloc[rows]
    scores = scorer.score(inputs(columns_of_frame(chosen)))
    known = chosen[[feature.name for feature in WINDOWED]].astype(object).replace(np.nan, None).to_dict("records")
    return [
        {"record": record, "known": told, "score": float(score)}
        for record, told, score in zip(json_of_frame(chosen), known, scores, strict=True)
    ]


def variables(whole: Rows) -> list[Variable]:
    """Return the bins of each feature, and its counts day by day."""
    numbers = [_variable(whole, each.name, each.calendar, whole.inputs.numbers[:, i]) for i, each in enumerate(NUMBERS)]
    texts = [
        _variable(whole, each.name, each.calendar, whole.inputs.categories[:, i]) for i, each in enumerate(CATEGORIES)
    ]
    return [*numbers, *texts]


def _variable(whole: Rows, name: str, calendar: bool, values: Any) -> Variable:
    bins = Bins.of(values)
    known = sorted(set(values.tolist()) - {MISSING}) if values.dtype == object else []
    return Variable(name, calendar, bins, known, by_day(whole.days, values, bins))


def reference(whole: Rows, inputs: list[Variable], scores: Any, rung: Fitted) -> Reference:
    """Return the window day by day: counts of each feature and of the score, sums of outcomes, scores and losses.

    Days of the folds have the scores of the fits that had not seen them.
    """
    found, rows = np.unique(whole.days, return_counts=True)
    days, sums = [str(day) for day in found], sums_of_days(whole.days, whole.outcomes, scores) | rung.later

    def of_days(name: str) -> list[float]:
        return [sums[day][name] for day in days]

    return Reference(
        days=days,
        rows=rows.tolist(),
        observed=of_days("observed"),
        predicted=of_days("predicted"),
        realised=of_days("realised"),
        estimated=of_days("estimated"),
        slope=of_days("slope"),
        information=of_days("information"),
        unseen=[day in rung.later or day not in rung.days for day in days],
        variables=[*inputs, _variable(whole, SCORE, False, scores)],
    )
