"""Step 2, and the only place that knows Great Expectations: a suite derived from the record class stops bad data.

Columns and types are checked first: a rule about values says nothing of a column of the wrong type. Data Docs
show both stages.
"""

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

os.environ["GX_ANALYTICS_ENABLED"] = "false"
import great_expectations as gx
from great_expectations import expectations as gxe

from ml.contract import schema
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.features.definition import Feature, Window
from ml.features.table import WINDOWED, columns_of_frame
from ml.problem.schema import KEY, predicted_at
from ml.progress import say
from ml.store import files
from ml.training import broken_rules, data_docs
from ml.training.provenance import hash_of

PREDICTED_AT = "predicted_at"  # computed: the moment of each prediction, for freshness
TYPES = {
    "number": ["int", "float", "int8", "int16", "int32", "int64", "float32", "float64", "Int64", "Float64"],
    "category": ["str"],
    "time": ["datetime64[s]", "datetime64[ms]", "datetime64[us]", "datetime64[ns]"],
}


def validate(records: Path, since: date, until: date, report: Path, docs: Path) -> None:
    """Check raw records and write Data Docs and a JSON report; raises ContractError when data breaks a rule.

    The error names the column, the rule, how many rows break it, and three of their values.
    """
    report.unlink(missing_ok=True)  # what it and the docs said of other records
    shutil.rmtree(docs, ignore_errors=True)
    raw = pd.read_parquet(records)
    frame = _as_plain_types(raw)
    if frame.empty:
        raise ContractError("data", "no rows", "Look at the source, ml/problem/source.py")
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    context.add_data_docs_site(site_name="docs", site_config=_site(docs))
    batch = (
        context.data_sources.add_pandas("raw")
        .add_dataframe_asset("records")
        .add_batch_definition_whole_dataframe("all")
    )
    results: list[dict[str, Any]] = []
    stages: dict[str, str] = {}
    for stage, rules in {"columns": _structure(), "values": _values(since, until)}.items():
        if stage == "values":
            frame[PREDICTED_AT] = predicted_at(columns_of_frame(raw))
        suite = context.suites.add(gx.ExpectationSuite(name=stage, expectations=list(rules)))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=stage, data=batch, suite=suite))
        checkpoint = gx.Checkpoint(
            name=stage,
            validation_definitions=[definition],
            result_format={"result_format": "SUMMARY", "partial_unexpected_count": broken_rules.SAMPLES},
            actions=[gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["docs"])],
        )
        ran = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
        found = [each for run in ran.run_results.values() for each in run.to_json_dict()["results"]]
        stages[stage] = f"{sum(each['success'] for each in found)} of {len(found)} rules hold"
        results += found
        if not ran.success:
            break
    index = data_docs.settle(docs, stages)
    broken = [
        broken_rules.sentence(result)
        for result in results
        if not result["success"] and not broken_rules.only_absent(result, frame)
    ]
    statistics = {"rules": len(results), "broken": len(broken), "rows": len(frame)}
    said = {"success": not broken, "data": hash_of(records), "statistics": statistics, "broken": broken}
    files.write(str(report), json.dumps(said, indent=1).encode())
    if broken:
        raise ContractError("data", "; ".join(broken), f"See {index}, then the source or ml/problem/schema.py")
    say("validate", f"{len(frame):,} records hold {len(results)} rules, Data Docs in {index}")


def _as_plain_types(frame: pd.DataFrame) -> pd.DataFrame:
    """Return texts as objects and times as naive UTC, types whose values Great Expectations can name.

    Times without a zone, and numbers with a fraction where the schema has integers, become objects: no rule takes
    their type then.
    """
    whole = {column.name for column in schema.columns() if column.integer}
    plain = frame.copy()
    for name, dtype in frame.dtypes.items():
        if isinstance(dtype, pd.StringDtype):
            plain[name] = frame[name].astype(object).where(frame[name].notna(), None)
        elif isinstance(dtype, pd.DatetimeTZDtype):
            plain[name] = frame[name].dt.tz_convert("UTC").dt.tz_localize(None)
        elif pd.api.types.is_datetime64_dtype(dtype) or (name in whole and _has_fractions(frame[name])):
            plain[name] = frame[name].astype(object)
    return plain


def _has_fractions(values: "pd.Series[Any]") -> bool:
    return pd.api.types.is_float_dtype(values.dtype) and bool((values.dropna() % 1 != 0).any())


def _structure() -> Iterator[Any]:
    """Yield the rules about columns and their types."""
    target = framing().task.positive
    yield gxe.ExpectColumnToExist(column=target)
    for column in schema.columns():
        yield gxe.ExpectColumnToExist(column=column.name)
    for column in schema.columns():
        types = [name for name in TYPES[column.kind] if not (column.integer and name == "float")]
        yield gxe.ExpectColumnValuesToBeInTypeList(column=column.name, type_list=types)
    for feature in WINDOWED:
        yield gxe.ExpectColumnToExist(column=feature.name)
        yield gxe.ExpectColumnValuesToBeInTypeList(column=feature.name, type_list=["float64"])


def _values(since: date, until: date) -> Iterator[Any]:
    """Yield the rules about values, keys, rows and freshness."""
    limits, target = framing().data, framing().task.positive
    days = (until - since).days + 1
    yield gxe.ExpectTableRowCountToBeBetween(min_value=limits.rows_per_day * days)
    freshest = pd.Timestamp(until - timedelta(days=limits.freshness_days))
    yield gxe.ExpectColumnMaxToBeBetween(column=PREDICTED_AT, min_value=freshest)
    yield _unique(list(KEY))
    yield gxe.ExpectColumnValuesToNotBeNull(column=target)
    yield gxe.ExpectColumnValuesToBeInSet(column=target, value_set=[0, 1])
    yield gxe.ExpectColumnDistinctValuesToContainSet(column=target, value_set=[0, 1])
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
    for feature in WINDOWED:
        if feature.window and np.isnan(feature.window.default):  # else nothing known is a value, too
            yield gxe.ExpectColumnValuesToNotBeNull(column=feature.name, mostly=limits.known)
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
