"""Step 3: compute every feature of every record, once, as serving will compute it."""

from pathlib import Path

import pandas as pd

from ml.contract.framing import framing
from ml.features import calendar
from ml.features.table import CATEGORIES, DAY, NUMBERS, columns_of_frame, inputs
from ml.problem import schema
from ml.progress import say
from ml.store import files


def features(records: Path, table: Path) -> None:
    """Write the training table: features, outcome, and the local day on which each prediction was due."""
    raw = pd.read_parquet(records)
    columns = columns_of_frame(raw)
    numbers, categories = inputs(columns)
    built = pd.DataFrame(numbers, columns=[feature.name for feature in NUMBERS])
    built[[feature.name for feature in CATEGORIES]] = categories
    target = framing().task.positive
    built[target] = raw[target].to_numpy()
    built[DAY] = (
        calendar.local(schema.predicted_at(columns), framing().time.timezone).astype("datetime64[D]").astype(str)
    )
    built = built.sort_values(DAY, kind="stable")
    files.write(str(table), built.to_parquet(index=False))
    say("features", f"computed {numbers.shape[1] + categories.shape[1]} features of {len(built):,} records")
