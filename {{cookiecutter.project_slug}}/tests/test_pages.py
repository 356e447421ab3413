"""The pages that people read: whole, readable offline, and with all that they must say; the monitor's is in its own."""

import re
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from ml.contract import bundle
from ml.contract.framing import framing
from ml.contract.verdict import Check, Estimated, Interval, Side, Verdict, Waiver, Window
from ml.features.rows import Rows
from ml.features.table import CATEGORIES, NAMES, NUMBERS, Inputs
from ml.gate.report import render
from ml.pages.words import listed, percent, words
from ml.statistics.inference import Answer
from ml.statistics.metrics import estimates
from ml.training.card import card, slices

RANDOM = np.random.default_rng(0)
COSTS = framing().cost.costs
DAYS = [f"2013-03-{day:02}" for day in range(11, 32)]


def loaded(page: str) -> list[str]:
    """What a browser would ask a network for."""
    return re.findall(r"""(?:src|href)\s*=\s*["'](?!#)[^"']+|url\((?!#)[^)]+\)|@import|<script|<link|<iframe""", page)


def check(name: str, answer: Answer, *of: str, **more: Any) -> Check:
    intervals = [Interval(of=each, value=0.01, low=-0.01, high=0.03, limit=0.02, answer=answer) for each in of]
    return Check(
        name=name, question=f"Is {name} fine?", answer=answer, said=f"{name} is so", intervals=intervals, **more
    )


def side(rung: str, digest: str) -> Side:
    found = {
        "log_loss": Estimated(value=0.301, low=0.25, high=0.352),
        "slope": Estimated(value=None, low=None, high=None),
    }
    return Side(bundle=digest * 64, rung=rung, recent=found, frozen=found)


def verdict(answer: Answer, *checks: Check, days_needed: int | None = None) -> Verdict:
    return Verdict(
        answer=answer,
        claim="better",
        metric="log_loss",
        alpha=0.05,
        power=0.8,
        judged_at=datetime(2013, 4, 2, tzinfo=UTC),
        champion=side("constant", "a"),
        challenger=side("logistic", "b"),
        recent=Window(since=date(2013, 3, 11), until=date(2013, 3, 31), days=21, rows=19652, positives=1832),
        frozen=Window(since=date(2013, 1, 5), until=date(2013, 3, 30), days=15, rows=12931, positives=1403),
        framing="0" * 64,
        attempts=2,
        frozen_uses=3,
        days_needed=days_needed,
        checks=list(checks),
    )


def text(page: str) -> str:
    """What a person reads on a page, pictures included."""
    return " ".join(re.sub(r"<style.*?</style>|<[^>]+>", " ", page, flags=re.S).split())


PRIMARY, FROZEN = check("primary", "pass", "difference"), check("frozen", "pass", "difference")
SLICES = check("slices", "pass", "carrier $UA$", "carrier EV")


@pytest.mark.parametrize("answer", ["pass", "fail", "inconclusive"])
def test_a_verdicts_page_loads_nothing_and_has_its_answer_every_check_and_a_picture(answer: Answer) -> None:
    page = render(verdict(answer, PRIMARY, FROZEN, SLICES, check("size", answer)))
    assert loaded(page) == []
    assert page.count("<svg") == 1
    assert f'<div class="verdict {answer}">' in page
    assert {"pass": "Pass: this", "fail": "Fail: this", "inconclusive": "Inconclusive: too"}[answer] in text(page)
    for name in ("primary", "frozen", "slices", "size"):
        assert f"Is {name} fine? {name} is so" in text(page)
    for said in ("carrier $UA$", "carrier EV", "logistic bbbbbbbbbbbb", "constant aaaaaaaaaaaa", "shown to 3 models"):
        assert said in text(page)


def test_a_verdicts_page_says_what_decided() -> None:
    failed = text(render(verdict("fail", PRIMARY, check("size", "fail"), check("cpu", "inconclusive"))))
    assert "1 of 3 checks failed: size. Open: cpu. size : size is so" in failed
    unsure = text(render(verdict("inconclusive", check("primary", "inconclusive"), FROZEN, days_needed=34)))
    assert "1 of 2 could not be decided: primary. About 34 labelled days would decide; these are 21." in unsure
    assert "All 3 checks passed." in text(render(verdict("pass", PRIMARY, FROZEN, SLICES)))


def test_a_waiver_is_shown_with_who_why_and_until_when_and_its_words_are_no_markup() -> None:
    waiver = Waiver(check="slices", owner="Ann", reason="a <b>strike</b>", expires=date(2013, 5, 1))
    page = render(verdict("pass", PRIMARY, SLICES.model_copy(update={"answer": "fail", "waiver": waiver})))
    assert "Waived by Ann until 2013-05-01: a &lt;b&gt;strike&lt;/b&gt;" in text(page)
    assert "1 of 2 checks passed. Waived: slices." in text(page)
    assert '<span class="badge fail">fail</span>' in page, "what was waived is still seen"


def test_a_verdict_without_a_measured_difference_has_a_page_and_none_for_what_is_not_defined() -> None:
    page = render(verdict("fail", check("data", "fail")))
    assert "<svg" not in page
    assert "calibration slope none none none none" in text(page)
    assert "log loss 0.301 0.250 to 0.352" in text(page)


@pytest.fixture(scope="module")
def test_days() -> Rows:
    """Rows of 21 days: in the first category's first value outcomes are frequent, in its second they are rare."""
    count = 4 * framing().slices.rows
    numbers = RANDOM.normal(size=(count, len(NUMBERS))).astype(np.float32)
    categories = np.full((count, len(CATEGORIES)), "XX", dtype=object)
    outcomes = (RANDOM.random(count) < 0.25).astype(np.int64)
    days = np.array(DAYS, dtype=object)[np.arange(count) % len(DAYS)]
    return Rows(Inputs(numbers, categories), outcomes, days, np.arange(count, dtype=np.uint64))


def manifest(test: Rows, scores: dict[str, Any], rung: str) -> dict[str, Any]:
    def told(name: str) -> dict[str, Any]:
        found = estimates(test.outcomes, scores[name], test.days, COSTS, draws=20)
        measured = {metric: each._asdict() for metric, each in found.items()}
        return {"loss": 0.36, "calibration": [0.8, -0.3], "parameters": {"depth": 7}, "test": measured}

    return {
        "rung": rung,
        "threshold": COSTS.threshold,
        "features": list(NAMES),
        "fit": {"rows": 61137, "base": 0.11, "span": ["2013-01-01", "2013-03-10"]},
        "test": {"days": DAYS, "rows": len(test.outcomes)},
        "rungs": list(scores),
        "ladder": {name: told(name) for name in scores},
        "data_checks": {"rules": 41, "broken": 0},
        "provenance": {"commit": None, "tree": "t" * 64, "locks": "l" * 64, "data": "d" * 64},
    }


@pytest.fixture(scope="module")
def scores(test_days: Rows) -> dict[str, Any]:
    guesses = np.clip(0.2 + 0.1 * test_days.outcomes + RANDOM.normal(0, 0.05, len(test_days.outcomes)), 0.01, 0.99)
    return {"constant": np.full(len(guesses), 0.11), "<b>est": guesses}


@pytest.fixture(scope="module")
def both(test_days: Rows, scores: dict[str, Any]) -> tuple[str, str]:
    """The card of a model with everything in it, as Markdown and as a page."""
    explained = {name: 0.01 * place for place, name in enumerate(NAMES)}
    told = manifest(test_days, scores, "<b>est") | {"importance": explained, "contributions": explained}
    found = card(told, test_days, scores["<b>est"])
    return found[bundle.CARD].decode(), found[bundle.PAGE].decode()


def test_the_cards_page_loads_nothing_has_its_pictures_and_escapes_names(both: tuple[str, str]) -> None:
    _, page = both
    assert loaded(page) == []
    assert page.count("<svg") == 4
    assert "<b>" not in page


def test_both_forms_of_the_card_say_the_same(both: tuple[str, str]) -> None:
    decision = framing().decision
    for said in (
        *(decision.question, decision.users, decision.action, decision.business_metric, decision.limits),
        *("2013-01-01 to 2013-03-10: 61,137 rows, 11.0 %", "d" * 64, "t" * 64, "l" * 64, "depth 7", "slope 0.800"),
        *("ROC-AUC", "expected calibration error", "cost per thousand", "2013-03-11 to 2013-03-31", "41 rules"),
        *NAMES,
    ):
        assert said in both[0], said
        assert said in text(both[1]).replace("&#39;", "'"), said


def test_the_cards_markdown_has_no_markup_and_whole_tables(both: tuple[str, str]) -> None:
    markdown, _ = both
    assert "<svg" not in markdown
    assert "model_card.html" in markdown
    for table in re.findall(r"(?:^\|.*\n)+", markdown, flags=re.M):
        head, rule, *body = table.splitlines()
        assert set(rule) <= set("|-:")
        assert body
        assert {line.count("|") for line in (head, rule, *body)} == {rule.count("|")}, table


def test_a_card_of_the_constant_says_none_and_explains_nothing(test_days: Rows, scores: dict[str, Any]) -> None:
    found = card(manifest(test_days, scores, "constant"), test_days, scores["constant"])
    page = found[bundle.PAGE].decode()
    assert "calibration slope none" in text(page)
    assert page.count("<svg") == 2
    assert "What the scores come from" not in page
    assert "| calibration slope | none |" in found[bundle.CARD].decode()


def test_slices_are_those_with_enough_rows_and_positives(test_days: Rows) -> None:
    asked, names = framing().slices, [feature.name for feature in CATEGORIES]
    values, many = test_days.inputs.categories.copy(), asked.rows
    outcomes = np.zeros(len(test_days.outcomes), dtype=np.int64)
    column = names.index(asked.features[0])
    values[:, column] = np.repeat(["few", "rare", "good", ""], [many - 1, many, many, len(values) - 3 * many + 1])
    outcomes[: many - 1] = outcomes[2 * many - 1 :] = 1
    outcomes[many : many + asked.positives - 1] = 1
    rows = Rows(Inputs(test_days.inputs.numbers, values), outcomes, test_days.days, test_days.keys)
    named = [
        each for each in slices(rows, np.full(len(outcomes), 0.5)) if each.name.startswith(f"{asked.features[0]} ")
    ]
    assert [(each.name, each.rows) for each in named] == [(f"{asked.features[0]} good", many)]
    assert (named[0].observed, named[0].predicted) == (1.0, 0.5)


def test_metrics_and_shares_are_said_as_people_say_them() -> None:
    assert [words(name) for name in ("log_loss", "roc_auc", "acted")] == ["log loss", "ROC-AUC", "share acted on"]
    assert (percent(0.3125), percent(None)) == ("31.2 %", "none")
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
