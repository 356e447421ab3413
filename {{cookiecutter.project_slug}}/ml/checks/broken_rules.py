"""What a broken rule of the data suite says to a person: column, rule, how many rows, three of their values."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

SAMPLES = 3  # values shown for each broken rule


def only_absent(result: dict[str, Any], frame: pd.DataFrame) -> bool:
    """Say whether a rule broke only because its column is not there, which another rule says."""
    config = result["expectation_config"]
    return config["type"] != "expect_column_to_exist" and config["kwargs"].get("column", frame.columns[0]) not in frame


def sentence(result: dict[str, Any]) -> str:
    """Return one broken rule in words: column, rule, count, three values."""
    config, found = result["expectation_config"], result["result"]
    given = {key: value for key, value in config["kwargs"].items() if key not in ("batch_id", "column", "column_list")}
    about = config["kwargs"].get("column") or ", ".join(config["kwargs"].get("column_list", [])) or "table"
    limits = ", ".join(f"{key} {value}" for key, value in given.items() if key != "type_list")
    rule = config["type"].removeprefix("expect_").replace("_", " ") + (f" ({limits})" if limits else "")
    raised = next((each["exception_message"] for each in _exceptions(result) if each.get("exception_message")), None)
    if raised:
        return f"{about}: {rule}: {raised}"
    if found.get("unexpected_count"):
        values = ", ".join(repr(value) for value in found.get("partial_unexpected_list", [])[:SAMPLES])
        return f"{about}: {rule}: {found['unexpected_count']:,} rows" + (f", such as {values}" if values else "")
    if absent := found.get("partial_missing_list"):
        return f"{about}: {rule}: no row has {', '.join(map(repr, absent))}"
    return f"{about}: {rule}" + (f": found {found['observed_value']}" if "observed_value" in found else "")


def _exceptions(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    info = result.get("exception_info") or {}
    yield from ([info] if "exception_message" in info else [each for each in info.values() if isinstance(each, dict)])
