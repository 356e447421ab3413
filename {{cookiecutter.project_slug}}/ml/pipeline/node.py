"""What a pod of a TrainJob runs: it takes the table from the store, fits one rung, and puts the model there."""

import json
import os
import sys
import tempfile
from pathlib import Path

from ml.errors import ContractError
from ml.store import files
from ml.training.train import train

TABLE, MODEL, BROKEN = "table.parquet", "model", "broken.json"


def node(place: str, rung: str, seed: int, threads: int) -> None:
    """Fit a rung on the table below `place`, and put what `train` writes beside it; of several nodes, the first does.

    A broken contract is put there, too, and is no failure of the pod: Kubernetes would try it six times more.
    """
    first = os.environ.get("RANK", "0") == "0"  # torch.distributed.run says it
    with tempfile.TemporaryDirectory() as folder:
        table, model = Path(folder) / TABLE, Path(folder) / MODEL
        table.write_bytes(files.read(files.join(place, TABLE)))
        try:
            train(table, model, rung, seed, threads)
        except ContractError as error:
            told = [error.contract, error.broken, error.mend]
            files.write(files.join(place, BROKEN), json.dumps(told).encode())
            return
        for file in model.iterdir() if first else ():
            files.write(files.join(place, MODEL, file.name), file.read_bytes())


if __name__ == "__main__":
    node(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
