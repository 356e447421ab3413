"""Step 6: seal the chosen rung with all that serving and monitoring need into a bundle, and prove that it works."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ml.contract import bundle, schema
from ml.contract.profile import Profile
from ml.contract.reference import Bins, Reference, Variable, by_day
from ml.contract.scorer import Scorer
from ml.errors import ContractError
from ml.features.table import CATEGORIES, MISSING, NAMES, NUMBERS, SCORE, columns_of_frame, inputs, json_of_frame
from ml.progress import say
from ml.training import choice
from ml.training.card import card
from ml.training.provenance import provenance
from ml.training.window import Part, load

GOLDEN = 64  # records that every service scores again before it is ready


class Made(NamedTuple):
    """What the steps before have written."""

    records: Path
    table: Path
    model: Path
    evaluation: Path
    validation: Path


def register(made: Made, store: str) -> str:
    """Put the bundle into the store and return its digest; refuses data that was not found valid."""
    checked = json.loads(made.validation.read_text())
    if not checked["success"]:
        raise ContractError("data", "the records were not found valid", "Run `ml validate`")
    came = provenance(made.records)
    if checked["data"] != came["data"]:
        raise ContractError("data", "other records were found valid than these", "Run `ml validate`")
    judged = json.loads(made.evaluation.read_text())
    graph = choice.graph(made.model, judged["chosen"]).read_bytes()
    scorer, whole = Scorer(graph), load(made.table)
    scores = scorer.score(whole.inputs)
    manifest: dict[str, Any] = {
        "contract": bundle.CONTRACT,
        "rung": judged["chosen"],
        "threshold": judged["decisions"]["threshold"],
        "features": list(NAMES),
        "schema": schema.record_type().model_json_schema(),
        "days": judged["days"],
        "rows": judged["rows"],
        "validation": judged["validation"],
        "test": judged["test"],
        "decisions": judged["decisions"],
        "data_checks": checked["statistics"],
        "provenance": came,
    }
    core = {
        bundle.MANIFEST: bundle.dump(manifest),
        "model.onnx": graph,
        "reference.json": reference(whole, scores).dump(),
        "golden.json": bundle.dump(golden(pd.read_parquet(made.records), scorer)),
    }
    profile = Profile.of(whole.frame.assign(**{SCORE: scores}))
    beside = {bundle.CARD: card(manifest).encode(), bundle.PROFILE: profile.dump()}
    digest = bundle.save(store, core, beside)
    replayed = bundle.load(store, digest).replay_golden()
    say(
        "register",
        f"bundle {digest[:12]} ({judged['chosen']}), {replayed} golden records replayed, "
        f"in {bundle.folder(store, digest)}",
    )
    return digest


def golden(records: pd.DataFrame, scorer: Scorer) -> list[dict[str, Any]]:
    """Return evenly spaced records, as a client would send them, with the scores they must get."""
    rows = np.unique(np.linspace(0, len(records) - 1, GOLDEN).astype(int))
    chosen = records.iloc[rows]
    scores = scorer.score(inputs(columns_of_frame(chosen)))
    return [
        {"record": record, "score": float(score)} for record, score in zip(json_of_frame(chosen), scores, strict=True)
    ]


def reference(whole: Part, scores: Any) -> Reference:
    """Return the window day by day: counts of each feature and of the score, sums of outcomes and scores."""
    days = np.unique(whole.days)

    def variable(name: str, calendar: bool, values: Any) -> Variable:
        bins = Bins.of(values)
        known = sorted(set(values.tolist()) - {MISSING}) if values.dtype == object else []
        return Variable(name, calendar, bins, known, by_day(whole.days, values, bins))

    numbers = [variable(each.name, each.calendar, whole.inputs.numbers[:, i]) for i, each in enumerate(NUMBERS)]
    texts = [variable(each.name, each.calendar, whole.inputs.categories[:, i]) for i, each in enumerate(CATEGORIES)]
    by = [whole.days == day for day in days]
    return Reference(
        days=[str(day) for day in days],
        rows=[int(rows.sum()) for rows in by],
        observed=[float(whole.outcomes[rows].sum()) for rows in by],
        predicted=[float(scores[rows].sum()) for rows in by],
        variables=[*numbers, *texts, variable(SCORE, False, scores)],
    )
