"""What `train` tells the steps after it: the rungs' losses on later days, the chosen one, the days used."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "choice.json"


@dataclass(frozen=True)
class Choice:
    """The chosen rung; each rung's loss on the validation days; first and last day, and rows, of each part."""

    chosen: str
    validation: dict[str, float]
    days: dict[str, list[str]]
    rows: dict[str, int]

    def write(self, model: Path) -> None:
        """Write it into the folder of the rungs' graphs."""
        (model / FILE).write_text(json.dumps(asdict(self), indent=1))


def read(model: Path) -> Choice:
    """Read it from the folder of the rungs' graphs."""
    return Choice(**json.loads((model / FILE).read_text()))


def graph(model: Path, rung: str) -> Path:
    """Return where a rung's ONNX graph lies."""
    return model / f"{rung}.onnx"
