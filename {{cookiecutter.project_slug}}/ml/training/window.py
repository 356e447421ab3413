"""The training window: which of its days are fitted on, chosen on, and tested on, in the order of time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.contract.framing import FILE, framing
from ml.errors import ContractError
from ml.features.table import CATEGORIES, DAY, NAMES, NUMBERS, Inputs


@dataclass(frozen=True)
class Part:
    """Rows of the training table: inputs, outcomes (0 or 1) and days, all of one length."""

    inputs: Inputs
    outcomes: NDArray[np.int64]
    days: NDArray[np.object_]

    @property
    def frame(self) -> pd.DataFrame:
        """The inputs as rungs are fitted on them: numbers first, then categories."""
        numbers = pd.DataFrame(self.inputs.numbers, columns=NAMES[: len(NUMBERS)])
        return numbers.join(pd.DataFrame(self.inputs.categories, columns=NAMES[len(NUMBERS) :]))

    def where(self, rows: NDArray[np.bool_]) -> "Part":
        """Return the chosen rows."""
        return Part(
            Inputs(self.inputs.numbers[rows], self.inputs.categories[rows]),
            self.outcomes[rows],
            self.days[rows],
        )


def load(path: Path) -> Part:
    """Read the training table that `features` wrote."""
    table = pd.read_parquet(path)
    numbers = table[[feature.name for feature in NUMBERS]].to_numpy(np.float32)
    categories = table[[feature.name for feature in CATEGORIES]].to_numpy(object)
    outcomes = table[framing().task.positive].to_numpy(np.int64)
    return Part(Inputs(numbers, categories), outcomes, table[DAY].to_numpy(object))


def split(whole: Part) -> dict[str, Part]:
    """Cut by days into `fit`, `validation` and `test`, each later than the one before; no day is in two."""
    days = np.unique(whole.days)
    time = framing().time
    held_out = time.validation_days + time.test_days
    if len(days) <= held_out:
        raise ContractError(
            "framing",
            f"{len(days)} days of data leave none to fit on after {held_out} for validation and test",
            f"Edit {FILE}",
        )
    first_validation, first_test = days[-held_out], days[-time.test_days]
    parts = {
        "fit": whole.days < first_validation,
        "validation": (whole.days >= first_validation) & (whole.days < first_test),
        "test": whole.days >= first_test,
    }
    for name, rows in parts.items():
        if len(found := np.unique(whole.outcomes[rows])) < 2:
            raise ContractError("framing", f"the {name} days hold outcome {found[0]} alone", f"Edit [time] in {FILE}")
    return {name: whole.where(rows) for name, rows in parts.items()}
