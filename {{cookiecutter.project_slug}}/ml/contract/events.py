"""The event log: what was predicted and what came of it, as append-only segments of JSON lines.

A writer never touches another writer's segment and a line is whole or ignored, so a crash costs at most the
line that was being written.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from ml.errors import ContractError

SUFFIX = ".jsonl"


def new_request_id(environment: str) -> str:
    """Return an id that shows by itself that a service of this environment gave it: 32 random hex digits and 8 more."""
    drawn = uuid.uuid4().hex
    return drawn + _check(drawn, environment)


def is_request_id(text: str, environment: str) -> bool:
    """Say whether a service of this environment gave the id: any pod can tell, and needs to remember nothing.

    It catches mistakes. It is no secret: who may send outcomes is for the network to decide.
    """
    return len(text) == 40 and text[32:] == _check(text[:32], environment)


def _check(drawn: str, environment: str) -> str:
    return hashlib.sha256(f"{environment}:{drawn}".encode()).hexdigest()[:8]


class Event(BaseModel):
    """Something that happened to one request, at a moment in UTC."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request_id: str
    time: AwareDatetime


class Prediction(Event):
    """What the model was given and what it answered; a number that was missing is None, a category "".

    `key` holds the record's key fields, by which it is found again in the lake. `time` is also the moment as of which
    the windowed features were read; `degraded`, that the online store did not answer, so that they are defaults.
    """

    kind: Literal["prediction"] = "prediction"
    key: dict[str, float | str | None]
    bundle: str
    score: float
    decision: bool
    features: dict[str, float | str | None]
    degraded: bool = False


class Outcome(Event):
    """What truly came of a request."""

    kind: Literal["outcome"] = "outcome"
    outcome: bool


class EventLog:
    """Appends events to a segment of its own below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._segment = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        self._file: FileIO | None = None

    def append(self, events: Iterable[Event]) -> None:
        """Hand events to the operating system, all or none; raises OSError when it does not take them."""
        lines = memoryview("".join(event.model_dump_json() + "\n" for event in events).encode())
        if self._file is None:
            self._file = FileIO(self._segment, "a")
        whole = self._file.tell()
        try:
            while lines:
                lines = lines[self._file.write(lines) :]
        except OSError:
            self._file.truncate(whole)  # a full disk takes part of a line, which the next one would be glued to
            self._file.seek(whole)
            raise

    def close(self) -> None:
        """Close the segment."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield every whole event below `folder` as a mapping, `time` as datetime; a torn last line is passed over."""
    for segment in sorted(folder.glob(f"*{SUFFIX}")):
        with segment.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith("\n"):
                    break
                try:
                    event = json.loads(line)
                    event["time"] = datetime.fromisoformat(event["time"])
                except (ValueError, KeyError, TypeError) as error:
                    raise ContractError(
                        "events", f"{segment.name} line {number} is no event", "Move the file away"
                    ) from error
                yield event
