"""Step 2: records that break the rules derived from the record class stop the flow; Data Docs show all of them."""

import json
import shutil
from datetime import date
from pathlib import Path

import pandas as pd

from ml.checks import suite
from ml.errors import ContractError
from ml.progress import say
from ml.store import files
from ml.training import data_docs
from ml.training.provenance import hash_of


def validate(records: Path, since: date, until: date, report: Path, docs: Path) -> None:
    """Check raw records and write Data Docs and a JSON report; raises ContractError when data breaks a rule.

    The error names the column, the rule, how many rows break it, and three of their values.
    """
    report.unlink(missing_ok=True)  # what it and the docs said of other records
    shutil.rmtree(docs, ignore_errors=True)
    raw = pd.read_parquet(records)
    if raw.empty:
        raise ContractError("data", "no rows", "Look at the source, ml/problem/source.py")
    found = suite.check(raw, suite.of_training(since, until), docs)
    index = data_docs.settle(docs, found.stages)
    statistics = {"rules": found.rules, "broken": len(found.broken), "rows": len(raw)}
    said = {
        "success": not found.broken,
        "data": hash_of(records),
        "statistics": statistics,
        "broken": found.broken,
    }
    files.write(str(report), json.dumps(said, indent=1).encode())
    if found.broken:
        raise ContractError("data", "; ".join(found.broken), f"See {index}, then the source or ml/problem/schema.py")
    say("validate", f"{len(raw):,} records hold {found.rules} rules, Data Docs in {index}")
