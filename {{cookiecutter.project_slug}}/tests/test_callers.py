"""Who may ask for predictions: everybody, or, once there is a caller, who sends a token."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import configured

from ml.contract import secrets
from ml.errors import ContractError
from ml.serving.endpoints import Endpoints

TOKENS = {"bookings": "b" * 32, "gate": "g" * 40}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of secrets with two callers."""
    with configured(ML_SERVE_SECRETS=tmp_path):
        for name, token in TOKENS.items():
            (tmp_path / f"{secrets.CALLER}{name}").write_text(f"{token}\n")
        yield tmp_path


class Idle:
    """A process of which nothing is asked but whether it drains."""

    draining = False

    def set_clock(self, told: str) -> None:
        """Take any time."""


def ask(*headers: str) -> list[tuple[int, dict[str, Any], str]]:
    """Return status, answer and connection of a request of no record, by its Authorization ("": none)."""
    endpoints = Endpoints(None, lambda: Idle())  # type: ignore[arg-type, return-value]

    async def asked() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(endpoints), base_url="http://service") as client:  # type: ignore[arg-type]
            sent = [{"Authorization": header} if header else {} for header in headers]
            return [await client.post("/predict", json=[], headers=each) for each in sent]

    return [(each.status_code, each.json(), each.headers.get("connection", "")) for each in asyncio.run(asked())]


def test_where_nobody_is_named_everybody_may_ask(tmp_path: Path) -> None:
    with configured(ML_SERVE_SECRETS=tmp_path):
        assert ask("", "Bearer anything") == [(200, [], "")] * 2
        assert secrets.as_caller() == {}


def test_who_sends_a_callers_token_is_answered_and_nobody_else(folder: Path) -> None:
    right = [f"Bearer {token}" for token in TOKENS.values()] + [f"bearer {TOKENS['gate']}"]
    assert [status for status, _, _ in ask(*right)] == [200, 200, 200]
    wrong = ["", "Bearer", "Bearer ", "Bearer bookings", f"Basic {TOKENS['gate']}", f"Bearer {TOKENS['gate']}g"]
    for status, answer, connection in ask(*wrong):
        assert (status, connection) == (401, "close")
        assert "the token of a caller" in answer["error"]


def test_a_sender_of_outcomes_is_no_caller_and_a_caller_no_sender(folder: Path) -> None:
    assert [status for status, _, _ in ask(f"Bearer {secrets.token('another')}")] == [401]
    assert not set(TOKENS.values()) & set(secrets.senders())


def test_our_own_requests_carry_a_callers_token(folder: Path) -> None:
    assert [status for status, _, _ in ask(secrets.as_caller()["Authorization"])] == [200]


def test_tokens_that_are_equal_or_could_be_guessed_are_refused(folder: Path) -> None:
    (folder / "caller-third").write_text(TOKENS["gate"])
    with pytest.raises(ContractError, match="gate and third have one token"):
        secrets.callers()
    (folder / "caller-third").write_text("short")
    with pytest.raises(ContractError, match="shorter than 32 characters"):
        secrets.callers()
