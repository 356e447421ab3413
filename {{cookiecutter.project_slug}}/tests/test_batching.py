"""Turns of the event loop: who comes together is served together, and one who breaks a turn breaks his own alone."""

import asyncio
from collections.abc import Sequence

import pytest

from ml.serving.batching import BULK, MOST, Batching, Request, give


def served(*requests: Sequence[str]) -> tuple[list[list[str] | str], list[int]]:
    """Return each request's answers, or its error, and how many requests each call of the model had."""
    calls: list[int] = []

    def serve(turn: list[Request]) -> None:
        calls.append(len(turn))
        records = [record for request in turn for record in request.records]
        if "bad" in records:
            raise OverflowError("bad")
        give(turn, [record.upper() for record in records])

    async def ask() -> list[list[str] | str]:
        batching = Batching(serve)
        found = await asyncio.gather(*(one(batching, each) for each in requests))
        return list(found)

    async def one(batching: Batching, records: Sequence[str]) -> list[str] | str:
        try:
            return await batching.submit(records, 0.0)
        except OverflowError as error:
            return str(error)

    return asyncio.run(ask()), calls


def test_who_comes_in_one_pass_is_served_by_one_call_and_gets_his_own_answers() -> None:
    answers, calls = served(["a", "b"], ["c"], ["d", "e", "f"])
    assert answers == [["A", "B"], ["C"], ["D", "E", "F"]]
    assert calls == [3]


def test_one_who_breaks_a_turn_fails_alone() -> None:
    answers, calls = served(["a"], ["bad"], ["c"])
    assert answers == [["A"], "bad", ["C"]]
    assert calls == [3, 1, 1, 1]


def test_a_turn_ends_and_what_is_large_is_a_turn_of_its_own() -> None:
    answers, calls = served(*[["a"]] * (MOST + 5), ["b"] * BULK)
    assert answers == [["A"]] * (MOST + 5) + [["B"] * BULK]
    assert sorted(calls)[0] == 1
    assert sum(calls) == MOST + 6


@pytest.mark.parametrize("gone", [0, 1])
def test_a_client_that_went_away_takes_no_answer_from_another(gone: int) -> None:
    async def ask() -> list[str]:
        batching = Batching(lambda turn: give(turn, [record for request in turn for record in request.records]))
        answers = [batching.submit([name], 0.0) for name in ("a", "b")]
        answers[gone].cancel()
        return await answers[1 - gone]

    assert asyncio.run(ask()) == [["b", "a"][gone]]
