"""FastAPI with the record's pydantic class, as its tutorial has it, and the same graph."""

from fastapi import FastAPI
from pydantic import ConfigDict

from benchmarks.serving.bare import SCORER, inputs
from ml.contract.schema import record_type


class Record(record_type()):
    """The record; FastAPI parses JSON before pydantic sees it, and a strict class would take no time from a text."""

    model_config = ConfigDict(strict=False)


app = FastAPI()


@app.post("/predict")
async def predict(record: Record) -> dict[str, float]:
    """Return the score of one record."""
    return {"score": float(SCORER.score(inputs([record.model_dump()]))[0])}
