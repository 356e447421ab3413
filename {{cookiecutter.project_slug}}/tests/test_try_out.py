"""Trying a bundle out beside the champion: what may answer somebody, what it is called, and how it ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import configured, copy_of_bundle, ml, one_line

from ml.contract import bundle as bundles
from ml.contract import release as contract
from ml.contract.release import Release
from ml.delivery import release
from ml.errors import ContractError
from ml.settings import settings


@pytest.fixture
def other(bundle: tuple[str, str], tmp_path: Path) -> Iterator[str]:
    """The digest of the simplest rung, beside which the shared bundle is the champion of a store of one's own."""
    copy_of_bundle(bundle, tmp_path)
    with configured(ML_STORE_URL=tmp_path, ML_RELEASE_FOLDER=tmp_path / "environments"):
        contract.write(Release(champion=bundle[1]))
        yield bundles.load(*bundle).baseline


def test_a_shadow_asks_nobody_and_is_named_by_what_it_is(other: str, bundle: tuple[str, str]) -> None:
    release.try_out(settings().store_url, other[:12], "shadow", 25)
    told = contract.read()
    assert told.champion == bundle[1]
    assert told.experiment.model_dump() == {
        "name": f"shadow-{other[:8]}",
        "mode": "shadow",
        "arms": {"challenger": {"bundle": other, "percent": 25.0}},
    }


@pytest.mark.parametrize("mode", ["canary", "ab"])
def test_who_would_answer_somebody_needs_the_gate(other: str, mode: str) -> None:
    with pytest.raises(ContractError, match="was never judged against"):
        release.try_out(settings().store_url, other, mode, 5)
    assert contract.read().experiment is None


def test_what_the_gate_let_pass_may_answer(other: str, bundle: tuple[str, str]) -> None:
    contract.write(Release(champion=other))  # the shared bundle passed against it
    release.try_out(settings().store_url, bundle[1], "canary", 5, "wider")
    release.try_out(settings().store_url, bundle[1], "canary", 20, "wider")
    experiment = contract.read().experiment
    assert (experiment.name, experiment.arms["challenger"].percent) == ("wider", 20)
    release.release(settings().store_url, bundle[1])
    assert contract.read() == Release(champion=bundle[1])


def test_who_answers_somebody_is_told_of_how_many_and_what_ends_with_it(
    other: str, bundle: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    contract.write(Release(champion=other))
    release.try_out(settings().store_url, bundle[1], "shadow", None, "silent")
    assert contract.read().experiment.arms["challenger"].percent == 100
    for mode in ("canary", "ab", "holdout"):
        with pytest.raises(ContractError, match=f"of how many entities this is a {mode}, was not told. Add --percent"):
            release.try_out(settings().store_url, bundle[1], mode, None)
    release.try_out(settings().store_url, bundle[1], "canary", 5, "loud")
    assert "in the experiment loud; silent ends with it" in capsys.readouterr().out


def test_a_holdout_is_the_simplest_rung(other: str) -> None:
    release.try_out(settings().store_url, None, "holdout", 2)
    assert contract.read().experiment.arms["challenger"].bundle == other


def test_a_service_elsewhere_is_named_by_its_url(other: str) -> None:
    release.try_out(settings().store_url, "http://127.0.0.1:9", "shadow", 100)
    assert contract.read().experiment.arms["challenger"].bundle == "http://127.0.0.1:9"
    release.end(settings().store_url)
    assert contract.read().experiment is None
    with pytest.raises(ContractError, match="no gate has judged what answers at"):
        release.try_out(settings().store_url, "http://127.0.0.1:9", "canary", 5)


def test_the_champion_is_no_challenger_of_its_own(other: str, bundle: tuple[str, str]) -> None:
    with pytest.raises(ContractError, match="is the champion itself"):
        release.try_out(settings().store_url, bundle[1], "shadow", 100)


def test_the_verb_says_what_is_wrong_in_one_line(other: str, tmp_path: Path) -> None:
    variables = {"ML_STORE_URL": tmp_path, "ML_RELEASE_FOLDER": tmp_path / "environments"}
    line = one_line(ml("release", other, "--as", "shadow", "--name", "No Name", **variables))
    assert line.startswith("error: release: name: String should match pattern")
    line = one_line(ml("release", other, "--as", "shadow", **variables | {"ML_RELEASE_FOLDER": tmp_path / "none"}))
    assert line.endswith("nothing is released that it could be compared with. Run `ml release` first")
    ran = ml("release", other, "--as", "shadow", "--percent", 10, **variables)
    assert ran.stdout.startswith(
        f"release   {tmp_path}/environments/laptop/release.yaml names {other[:12]} shadow of 10 %"
    )
    assert "no experiment beside" in ml("release", "--end", **variables).stdout
