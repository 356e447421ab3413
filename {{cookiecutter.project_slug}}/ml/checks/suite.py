"""The only place that knows Great Expectations: a suite derived from the record class, over a frame of raw records.

Columns and types are checked first: a rule about values says nothing of a column of the wrong type.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

os.environ["GX_ANALYTICS_ENABLED"] = "false"
import great_expectations as gx
from great_expectations import expectations as gxe

from ml.checks import broken_rules
from ml.checks.plain import plain_types
from ml.contract import schema
from ml.contract.framing import framing
from ml.features.definition import Feature, Window
from ml.features.table import WINDOWED, columns_of_frame
from ml.problem.schema import KEY, predicted_at

PREDICTED_AT = "predicted_at"  # computed: the moment of each prediction, for freshness
TYPES = {
    "number": ["int", "float", "int8", "int16", "int32", "int64", "float32", "float64", "Int64", "Float64"],
    "category": ["str"],
    "time": ["datetime64[s]", "datetime64[ms]", "datetime64[us]", "datetime64[ns]"],
}

Rules = Mapping[str, Sequence[Any]]  # of the stages, `columns` before `values`


class Checked(NamedTuple):
    """How each stage went, how many rules were asked, and each broken one as a sentence."""

    stages: dict[str, str]
    rules: int
    broken: list[str]


def of_records() -> Rules:
    """Return the rules that any records have to hold."""
    return {"columns": list(_structure()), "values": list(_values())}


def of_training(since: date, until: date) -> Rules:
    """Return the rules for a window of labelled records with their windowed features."""
    of_any = of_records()
    return {
        "columns": [*of_any["columns"], *_structure_of_training()],
        "values": [*_whole(since, until), *of_any["values"], *_values_of_training()],
    }


def check(raw: pd.DataFrame, rules: Rules, docs: Path | None = None) -> Checked:
    """Ask rules of records, stage by stage until one breaks, and write Data Docs where `docs` says."""
    frame = plain_types(raw)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    if docs:
        context.add_data_docs_site(site_name="docs", site_config=_site(docs))
    written = [gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["docs"])] if docs else []
    source = context.data_sources.add_pandas("raw").add_dataframe_asset("records")
    batch = source.add_batch_definition_whole_dataframe("all")
    stages: dict[str, str] = {}
    results: list[dict[str, Any]] = []
    for stage, own in rules.items():
        if stage == "values":
            frame[PREDICTED_AT] = predicted_at(columns_of_frame(raw))
        suite = context.suites.add(gx.ExpectationSuite(name=stage, expectations=list(own)))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=stage, data=batch, suite=suite))
        checkpoint = gx.Checkpoint(
            name=stage,
            validation_definitions=[definition],
            result_format={"result_format": "SUMMARY", "partial_unexpected_count": broken_rules.SAMPLES},
            actions=written,
        )
        ran = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
        found = [each for run in ran.run_results.values() for each in run.to_json_dict()["results"]]
        stages[stage] = f"{sum(each['success'] for each in found)} of {len(found)} rules hold"
        results += found
        if not ran.success:
            break
    broken = [each for each in results if not each["success"] and not broken_rules.only_absent(each, frame)]
    return Checked(stages, len(results), [broken_rules.sentence(each) for each in broken])


def _structure() -> Iterator[Any]:
    for column in schema.columns():
        yield gxe.ExpectColumnToExist(column=column.name)
    for column in schema.columns():
        types = [name for name in TYPES[column.kind] if not (column.integer and name == "float")]
        yield gxe.ExpectColumnValuesToBeInTypeList(column=column.name, type_list=types)


def _structure_of_training() -> Iterator[Any]:
    yield gxe.ExpectColumnToExist(column=framing().task.positive)
    for feature in WINDOWED:
        yield gxe.ExpectColumnToExist(column=feature.name)
        yield gxe.ExpectColumnValuesToBeInTypeList(column=feature.name, type_list=["float64"])


def _values() -> Iterator[Any]:
    yield _unique(list(KEY))
    for column in schema.columns():
        if not column.optional:
            yield gxe.ExpectColumnValuesToNotBeNull(column=column.name)
        if column.low is not None or column.high is not None:
            low, high = (
                (_naive(column.low), _naive(column.high)) if column.kind == "time" else (column.low, column.high)
            )
            yield gxe.ExpectColumnValuesToBeBetween(column=column.name, min_value=low, max_value=high)
        if column.pattern is not None:
            yield gxe.ExpectColumnValuesToMatchRegex(column=column.name, regex=column.pattern)


def _whole(since: date, until: date) -> Iterator[Any]:
    """Yield the rules about rows and freshness."""
    limits, days = framing().data, (until - since).days + 1
    yield gxe.ExpectTableRowCountToBeBetween(min_value=limits.rows_per_day * days)
    freshest = pd.Timestamp(until - timedelta(days=limits.freshness_days))
    yield gxe.ExpectColumnMaxToBeBetween(column=PREDICTED_AT, min_value=freshest)


def _values_of_training() -> Iterator[Any]:
    target = framing().task.positive
    yield gxe.ExpectColumnValuesToNotBeNull(column=target)
    yield gxe.ExpectColumnValuesToBeInSet(column=target, value_set=[0, 1])
    yield gxe.ExpectColumnDistinctValuesToContainSet(column=target, value_set=[0, 1])
    for feature in WINDOWED:
        if feature.window and np.isnan(feature.window.default):  # else nothing known is a value, too
            yield gxe.ExpectColumnValuesToNotBeNull(column=feature.name, mostly=framing().data.known)
        low, high = _bounds(feature)
        if low is not None or high is not None:
            yield gxe.ExpectColumnValuesToBeBetween(column=feature.name, min_value=low, max_value=high)


def _bounds(feature: Feature) -> tuple[float | None, float | None]:
    """Return between which values a windowed feature must lie, by its definition and its events' fields."""
    match feature.window:
        case Window(how="age", hours=hours):
            return 0, hours
        case Window(how="count"):
            return 0, None
        case Window(value=str(name), events=events):
            found = next(column for column in schema.columns(events) if column.name == name)
            return found.low, found.high
        case window:
            return window.bounds if window else (None, None)


def _naive(moment: datetime | None) -> datetime | None:
    return moment and moment.astimezone(UTC).replace(tzinfo=None)


def _unique(key: list[str]) -> Any:
    """Return the rule that no two records have the same key."""
    if len(key) == 1:
        return gxe.ExpectColumnValuesToBeUnique(column=key[0])
    return gxe.ExpectCompoundColumnsToBeUnique(column_list=key)


def _site(docs: Path) -> dict[str, Any]:
    """Return where and how Data Docs are built: a folder of static pages."""
    return {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)},
    }
