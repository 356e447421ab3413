"""What a pull request says: every step in its own words, the evidence in whole tables, and nothing of this machine."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import configured
from markdown_it import MarkdownIt
from promotion_evidence import FRAMING, IMAGE, NOW, analysis, gate, trying

from ml.contract import bundle as bundles
from ml.contract.release import Release
from ml.contract.verdict import Check, Interval, Verdict
from ml.promotion import body
from ml.promotion.case import Case, Step
from ml.promotion.step import next_step
from ml.settings import Promotion, settings

POLICY = Promotion(stages=["staging", "production"], canary=[5], evidence_days=7)
CURVE = {"predicted": [0.0312, 0.2, 0.71], "observed": [0.02, 0.25, 0.69]}
STRANGE = "carrier <img src=x> | @everybody `of` *all*\nnext"


@pytest.fixture(scope="module")
def old(bundle: tuple[str, str]) -> Iterator[str]:
    """The simplest rung, which is champion beside the shared bundle."""
    with configured(ML_STORE_URL=bundle[0], ML_RELEASE_ENVIRONMENT="staging"):
        yield bundles.load(*bundle).baseline


def judged(new: str, old: str) -> Verdict:
    """Return a verdict with metrics, a slice of a strange name, and calibration."""
    metrics = {
        "log_loss": {"value": 0.271, "low": 0.219, "high": 0.337},
        "slope": dict.fromkeys(("value", "low", "high")),
    }
    interval = Interval(of=STRANGE, value=-0.05, low=-0.1, high=0.01, limit=0.07, answer="pass")
    checks = [
        Check(name="slices", question="Is it?", answer="pass", said=STRANGE, intervals=[interval]),
        Check(name="calibration", question="Is it?", answer="pass", said="slope 0.93 (0.81 to 1.10)", evidence=CURVE),
    ]
    found = gate(challenger=new, champion=old, checks=checks)
    sides = {
        name: getattr(found, name).model_dump() | {"recent": metrics, "frozen": metrics}
        for name in ("champion", "challenger")
    }
    return Verdict.model_validate(found.model_dump() | sides)


def written(new: str, old: str, **told: Any) -> tuple[str, str]:
    """Return title and body of the next step."""
    case = Case("staging", NOW, FRAMING, gate=judged(new, old), **told)
    step = next_step(case, POLICY)
    assert isinstance(step, Step), step
    return body.title(case, step), body.body(case, step)


def on(release: Release, old: str) -> Release:
    return Release.model_validate(release.model_dump() | {"champion": old})


def cases(new: str, old: str) -> dict[str, dict[str, Any]]:
    """Return what is known before each step."""
    shadow, canary = (on(trying(mode, percent, new), old) for mode, percent in (("shadow", 100), ("canary", 5)))
    return {
        "becomes the first champion": {"newest": new},
        "is shown every request beside the champion": {"now": Release(champion=old), "newest": new},
        "answers 5 % of the entities": {"now": shadow, "analysis": analysis(shadow)},
        "becomes champion in place of": {"now": canary, "analysis": analysis(canary)},
        "is withdrawn; the champion": {"now": canary, "analysis": analysis(canary, "fail")},
        "other images run the same bundles": {"now": canary, "images": {"serving": IMAGE}},
    }


@pytest.mark.parametrize("sentence", cases("a" * 64, "c" * 64))
def test_every_step_is_told_in_its_own_words_and_its_tables_are_whole(
    sentence: str, old: str, bundle: tuple[str, str]
) -> None:
    title, text = written(bundle[1], old, **cases(bundle[1], old)[sentence])
    assert title.startswith("staging: ")
    assert sentence in text
    assert "```diff\n" in text
    assert "ml release revert staging" in text
    assert settings().store_url not in text
    assert "\n\n\n" not in text
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block
        assert block.count("\n") > 2
    kinds = [token.type for token in MarkdownIt("commonmark").enable("table").parse(text)]
    assert kinds.count("table_open") == len(blocks)


def test_the_evidence_is_there_with_its_intervals(old: str, bundle: tuple[str, str]) -> None:
    known = cases(bundle[1], old)["answers 5 % of the entities"]
    title, text = written(bundle[1], old, **known)
    assert title == f"staging: logistic {bundle[1][:12]} as canary 5 %"
    made = bundles.load(*bundle).manifest
    for part in (
        "| log loss | 0.271 (0.219 to 0.337) | 0.271 (0.219 to 0.337) |",
        "| calibration slope | none |",
        "2026-10-01 to 2026-10-21",
        "Calibration: slope 0.93 (0.81 to 1.10).\n\n```mermaid\nxychart-beta\n",
        'x-axis "mean score" [0.031, 0.2, 0.71]\n    y-axis "observed rate" 0 --> 0.71\n',
        "bar [0.02, 0.25, 0.69]\n    line [0.0312, 0.2, 0.71]\n```\n",
        "-0.0500 | -0.1000 | +0.0100 | 0.07 | pass",
        "| challenger | 500 | 900 | 800 | 400 | 0.300 | 2.000 | 9.000 |",
        f"`{made['provenance']['data']}`",
        "+  mode: canary",
        "-  mode: shadow",
    ):
        assert part in text, part


def test_who_cannot_reach_the_store_is_led_to_the_run_that_keeps_the_pages(
    old: str, bundle: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SERVER_URL": "https://github.com", "REPOSITORY": "ada/churn", "RUN_ID": "7"}.items():
        monkeypatch.setenv(f"GITHUB_{name}", value)
    known = cases(bundle[1], old)["answers 5 % of the entities"]
    _, text = written(bundle[1], old, **known)
    assert text.count("in [the evidence of this run](https://github.com/ada/churn/actions/runs/7#artifacts)") == 2
    monkeypatch.delenv("GITHUB_RUN_ID")
    assert "of this run" not in written(bundle[1], old, **known)[1]


def test_what_a_name_holds_stays_a_name(old: str, bundle: tuple[str, str]) -> None:
    _, text = written(bundle[1], old, newest=bundle[1])
    page = MarkdownIt("commonmark").enable("table").render(text)
    assert "<img" not in page
    assert "@everybody" not in page
    assert "carrier &lt;img src=x&gt; | @\u200beverybody `of` *all* next</td>" in page


def test_who_knows_the_remote_is_led_to_it(old: str, bundle: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for remote, page in {
        "https://x-access-token:secret@github.com/team/project.git": "https://github.com/team/project",
        "git@github.com:team/project.git": "https://github.com/team/project",
        "ssh://git@git.example.org:2222/team/project": "https://git.example.org/team/project",
    }.items():
        monkeypatch.setattr(body, "git", lambda *_, remote=remote: remote)
        _, text = written(bundle[1], old, newest=bundle[1])
        assert f"[docs/promotion.md]({page}/blob/HEAD/docs/promotion.md)" in text
        assert "secret" not in text
