"""What `train` tells the steps after it of one rung: its graph, its loss on later days, how it was made."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml.problem.models import ladder


@dataclass(frozen=True)
class Fitted:
    """One fitted rung.

    `loss` is the primary metric over the folds, calibrated; `calibration` slope and intercept of the logit; `base` the
    rate of positives it was fitted on; `days` the days it was fitted on; `tuned_on` the first and last day by which
    `parameters` were found; `contributions` the mean absolute TreeSHAP contribution of each feature, in logits; `later`
    the sums of each day of the folds (see `later.sums_of_days`), of calibrated scores by a fit on the days before it.
    """

    rung: str
    loss: float
    calibration: tuple[float, float]
    base: float
    days: list[str]
    rows: int
    parameters: dict[str, Any]
    tuned_on: list[str]
    contributions: dict[str, float]
    later: dict[str, dict[str, float]]

    def write(self, folder: Path, graph: bytes) -> None:
        """Write it and its ONNX graph into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.rung}.json").write_text(json.dumps(asdict(self), indent=1))
        (folder / f"{self.rung}.onnx").write_bytes(graph)


def read(folders: list[Path]) -> list[tuple[Fitted, bytes]]:
    """Return the rungs and graphs that lie in some folders, simplest first, whatever the order of the folders."""
    order = list(ladder(0, 1))
    found = [
        (Fitted(**json.loads(path.read_text())), path.with_suffix(".onnx").read_bytes())
        for folder in folders
        for path in folder.glob("*.json")
    ]
    return sorted(found, key=lambda each: order.index(each[0].rung))
