"""Step 3: compute every feature of every record, as serving will compute it, and refuse what knows the outcome."""

import json
from pathlib import Path

import pandas as pd

from ml.features.leakage import probes, refuse_leaks
from ml.features.rows import rows_of, to_parquet
from ml.progress import say
from ml.store import files


def features(records: Path, table: Path, leakage: Path) -> None:
    """Write the training table, and what each feature alone says of the outcome; raises ContractError for a leak."""
    rows = rows_of(pd.read_parquet(records))
    found = probes(rows)
    refuse_leaks(found)
    files.write(str(table), to_parquet(rows))
    files.write(str(leakage), json.dumps([probe._asdict() for probe in found], indent=1).encode())
    strongest = max(found, key=lambda probe: probe.auc)
    say(
        "features",
        f"computed {len(found)} features of {len(rows.outcomes):,} records; none leaks "
        f"(the strongest alone, {strongest.feature}, has ROC-AUC {strongest.auc:.3f})",
    )
