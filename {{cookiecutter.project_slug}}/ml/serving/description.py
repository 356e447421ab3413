"""The OpenAPI description of what callers meet: BentoML's own knows neither lists nor null, nor who is refused and why.

https://spec.openapis.org/oas/v3.1.0, with the schemas that pydantic makes of the very classes that read and answer.
"""

import json
from functools import cache
from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from ml.contract.schema import record_type
from ml.revision import commit
from ml.serving.body import LIMIT, PATIENCE
from ml.serving.predictor import Answer
from ml.settings import settings

HOME = "#/components/schemas/"


class Detail(BaseModel):
    """One reason: of which row, where there are many, and of which field, where it is one's."""

    row: int | None = None
    field: str | None
    reason: str


class Refusal(BaseModel):
    """Why there is no prediction."""

    error: str
    detail: list[Detail] = Field(default=[], description="where single fields are wrong, at most 20")


REFUSED = {
    400: "A record is not as the schema says, or the simulated time is none.",
    401: "Predictions need the token of a caller here, and none that is known came.",
    408: f"The body did not arrive within {PATIENCE:g} seconds.",
    413: f"The body is longer than {LIMIT} bytes.",
    429: "Too many requests are being answered; Retry-After says when to try again.",
    500: "It could not be answered; the log says why.",
}


@cache
def description() -> bytes:
    """Return the description as JSON."""
    record, project = record_type(), settings().project
    kinds: list[tuple[type[BaseModel], Any]] = [(Answer, "serialization"), (Refusal, "serialization")]
    places, told = models_json_schema([(record, "validation"), *kinds], ref_template=f"{HOME}{{model}}")
    asked, answer, refusal = (places[each] for each in [(record, "validation"), *kinds])
    predict = {
        "operationId": "predict",
        "summary": "Score one record, or a list of them.",
        "description": "A list is answered by a list in the same order; all of it, or none.",
        "security": [{}, {"caller": []}],
        "parameters": [
            {
                "name": "X-Simulated-Time",
                "in": "header",
                "description": "The time to go by, where the service lives in simulated time.",
                "schema": {"type": "string", "format": "date-time"},
            }
        ],
        "requestBody": {"required": True, "content": _json(_one_or_many(asked))},
        "responses": {
            "200": {"description": "What was predicted.", "content": _json(_one_or_many(answer))},
            **{str(each): {"description": why, "content": _json(refusal)} for each, why in REFUSED.items()},
        },
    }
    whole = {
        "openapi": "3.1.0",
        "info": {"title": project.name, "description": project.description, "version": commit() or "unknown"},
        "paths": {"/predict": {"post": predict}},
        "components": {
            "schemas": told["$defs"],
            "securitySchemes": {"caller": {"type": "http", "scheme": "bearer"}},
        },
    }
    return json.dumps(whole).encode()


def _one_or_many(schema: Any) -> dict[str, Any]:
    return {"oneOf": [schema, {"type": "array", "items": schema}]}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
