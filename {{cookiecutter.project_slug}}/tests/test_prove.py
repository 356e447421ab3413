"""The gate is proved by a model that it passes and one that it fails for what it predicts; anything else is told."""

import pytest

from ml.contract import bundle as bundles
from ml.contract import verdict
from ml.contract.verdict import Verdict
from ml.prove import Proof, page
from ml.settings import settings


@pytest.fixture
def passed(bundle: tuple[str, str]) -> Verdict:
    """The verdict on the shared bundle."""
    judged = verdict.load(bundle[0], bundle[1], bundles.load(*bundle).baseline)
    assert judged is not None
    return judged


def failed(judged: Verdict, *names: str) -> Verdict:
    """Return a verdict as it would be if these checks had failed."""
    checks = [each.model_copy(update={"answer": "fail"} if each.name in names else {}) for each in judged.checks]
    return judged.model_copy(update={"answer": "fail", "checks": checks})


def test_the_proof_holds_where_the_bad_model_fails_for_what_it_predicts(passed: Verdict) -> None:
    assert Proof(passed, failed(passed, "primary")).holds
    assert not Proof(passed, passed).holds
    assert not Proof(passed, failed(passed, "reproduction")).holds
    assert not Proof(failed(passed, "primary"), failed(passed, "primary")).holds


def test_the_page_says_which_model_had_to_do_what_and_did(passed: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVER_URL", "REPOSITORY", "RUN_ID"):
        monkeypatch.setenv(f"GITHUB_{name}", name.lower())
    days = settings().data.since, settings().data.until
    told = page(Proof(passed, failed(passed, "primary", "slices")), *days)
    good, bad = [line for line in told.splitlines() if "trained" in line and line.startswith("|")]
    assert "as it should be | pass | **pass** |" in good
    assert "swapped outcomes | fail | **fail** |" in bad
    assert bad.endswith("| primary, slices |")
    assert "(server_url/repository/actions/runs/run_id)" in told
    assert "not to be trusted" in page(Proof(passed, passed), *days)
