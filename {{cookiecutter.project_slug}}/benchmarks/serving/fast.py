"""FastAPI with the record's pydantic class, as its tutorial has it, and the same graph."""

from fastapi import FastAPI

from benchmarks.serving.bare import SCORER, inputs
from ml.contract.schema import record_type

Record = record_type()
app = FastAPI()


@app.post("/predict")
async def predict(record: Record) -> dict[str, float]:
    """Return the score of one record."""
    return {"score": float(SCORER.score(inputs([record.model_dump()]))[0])}
