"""The store's bundles as a registry: what may go is what nobody names, and prune never takes anything else."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import configured, copy_of_bundle, ml, one_line
from promotion_evidence import NOW, trying

from ml.contract import bundle as bundles
from ml.contract import release as contract
from ml.contract.bundle import MANIFEST, dump
from ml.contract.release import Release
from ml.delivery import deployments
from ml.delivery.deployments import Deployment
from ml.errors import ContractError
from ml.promotion import remembered
from ml.promotion.named import named
from ml.promotion.registry import diff, list_, prune, show
from ml.settings import settings
from ml.store import files

NOBODY = "0" * 64


def git(*words: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    folder = remembered.folder().parent
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def commit(release: Release) -> None:
    contract.write(release, "staging")
    git("add", "--all")
    git("commit", "--quiet", "--message", "another release")


def sealed(digest: str, baseline: str | None = None) -> None:
    """Put something into the store that says it is a bundle; nobody who counts names looks closer."""
    home = bundles.folder(settings().store_url, digest)
    files.write(files.join(home, MANIFEST), dump({"rung": "logistic", "baseline": baseline}))
    files.write(files.join(home, "model.onnx"), b"a graph")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """A store with a bundle that nobody names, and a repository in which nothing is released."""
    folder = tmp_path / "repository" / "environments"
    folder.mkdir(parents=True)
    with configured(ML_STORE_URL=tmp_path / "store", ML_RELEASE_FOLDER=folder, ML_RELEASE_ENVIRONMENT="staging"):
        git("init", "--quiet", "--initial-branch", "main")
        git("commit", "--quiet", "--allow-empty", "--message", "nothing yet")
        for digest in (NOBODY, "e" * 64):
            sealed(digest)
        bundles.name_newest(settings().store_url, "e" * 64)
        yield settings().store_url


def champion(digest: str) -> None:
    contract.write(Release(champion=digest), "laptop")


def challenger(digest: str) -> None:
    contract.write(trying(bundle=digest), "production")


def deployed(digest: str) -> None:
    told = Release(champion=digest)
    for outcome in ("good", "failed", "breach"):
        release = told if outcome == "good" else Release(champion="d" * 64)
        deployments.add(
            Deployment(environment="staging", release=release, at=NOW, outcome=outcome, revision=None, said="")
        )


def proposed(digest: str) -> None:
    git("checkout", "--quiet", "-b", "promote/staging")
    commit(trying(bundle=digest))
    git("checkout", "--quiet", "main")


def proposed_by_tomorrow(digest: str) -> None:
    """A later version of this code may write what this one cannot read."""
    git("checkout", "--quiet", "-b", "revert/staging")
    contract.file("staging").parent.mkdir()
    contract.file("staging").write_text(f"champions: [{digest}]\n")
    git("add", "--all")
    git("commit", "--quiet", "--message", "tomorrow")
    git("checkout", "--quiet", "main")


def way_back(digest: str) -> None:
    commit(Release(champion=digest))
    commit(Release(champion="d" * 64))


def newest(digest: str) -> None:
    bundles.name_newest(settings().store_url, digest)


def baseline(digest: str) -> None:
    sealed("d" * 64, baseline=digest)
    contract.write(Release(champion="d" * 64), "production")


NAMED: dict[Callable[[str], None], str] = {
    champion: "champion of laptop",
    challenger: "shadow in production",
    deployed: "last good in staging",
    proposed: "proposed by promote/staging",
    proposed_by_tomorrow: "proposed by revert/staging",
    way_back: "the way back of staging",
    newest: "newest",
    baseline: "what dddddddddddd has to beat",
}


@pytest.mark.parametrize(("name", "why"), NAMED.items(), ids=[each.__name__ for each in NAMED])
def test_a_bundle_that_somebody_names_is_never_removed(
    store: str, name: Callable[[str], None], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = "a" * 64
    sealed(needed)
    assert needed not in named(store)
    name(needed)
    assert named(store)[needed] == [why]
    prune(store, True)
    assert needed in bundles.names(store)
    assert NOBODY not in bundles.names(store)
    assert "removed 000000000000 (logistic)" in capsys.readouterr().out


def test_nothing_is_removed_unless_it_is_asked_for(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    prune(store, False)
    assert NOBODY in bundles.names(store)
    assert capsys.readouterr().out.splitlines() == [
        "bundles   may go: 000000000000 (logistic)",
        "bundles   would remove 1, with --yes; needed: 1",
    ]
    prune(store, True)
    assert bundles.names(store) == ["e" * 64]
    assert not Path(bundles.folder(store, NOBODY)).exists()


def test_nothing_is_removed_while_the_remote_cannot_be_asked(store: str, tmp_path: Path) -> None:
    git("remote", "add", "origin", str(tmp_path / "nowhere"))
    prune(store, False)
    with pytest.raises(ContractError, match=r"what is proposed is not known, so nothing was removed: fatal: .*nowhere"):
        prune(store, True)
    assert NOBODY in bundles.names(store)


def test_nothing_is_removed_outside_a_repository(store: str, tmp_path: Path) -> None:
    with configured(ML_STORE_URL=store, ML_RELEASE_FOLDER=tmp_path / "environments"):
        with pytest.raises(ContractError, match="is in no repository of git"):
            prune(store, True)
        assert NOBODY in bundles.names(store)


def test_nothing_is_removed_where_the_way_back_is_cut_off(store: str, tmp_path: Path) -> None:
    way_back(NOBODY)
    git("clone", "--quiet", "--depth", "1", f"file://{remembered.folder().parent}", str(tmp_path / "shallow"))
    with configured(ML_STORE_URL=store, ML_RELEASE_FOLDER=tmp_path / "shallow" / "environments"):
        assert NOBODY not in named(store)
        with pytest.raises(ContractError, match="the history of this checkout is cut off"):
            prune(store, True)


def test_what_the_remote_proposes_is_asked_for_before_anything_goes(store: str, tmp_path: Path) -> None:
    proposed(NOBODY)
    git("clone", "--quiet", "--bare", ".", str(tmp_path / "remote"))
    git("branch", "--delete", "--force", "promote/staging")
    git("remote", "add", "origin", str(tmp_path / "remote"))
    assert NOBODY not in named(store)
    prune(store, True)
    assert NOBODY in bundles.names(store)


@pytest.mark.parametrize("there", [True, False])
def test_what_was_merged_on_the_remote_is_needed_although_this_checkout_does_not_know(
    store: str, tmp_path: Path, there: bool
) -> None:
    if there:  # else git is asked from further up
        commit(Release(champion="e" * 64))
    git("checkout", "--quiet", "-b", "ahead")
    commit(Release(champion=NOBODY))
    git("branch", "--force", "main")
    git("clone", "--quiet", "--bare", ".", str(tmp_path / "remote"))
    git("checkout", "--quiet", "--detach", "main~1")
    git("branch", "--delete", "--force", "ahead", "main")
    git("remote", "add", "origin", str(tmp_path / "remote"))
    assert NOBODY not in named(store)
    prune(store, True)
    assert NOBODY in bundles.names(store)
    assert named(store)[NOBODY] == ["merged for staging"]


def test_the_registry_says_what_there_is_what_it_is_and_in_what_two_differ(
    bundle: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_of_bundle(bundle, tmp_path)
    simplest = bundles.load(*bundle).baseline
    with configured(ML_STORE_URL=tmp_path, ML_RELEASE_FOLDER=tmp_path / "environments"):
        store = settings().store_url
        newest(bundle[1])
        list_(store)
        said = capsys.readouterr().out
        assert f"{bundle[1][:12]} │ logistic" in said
        assert "newest" in said
        assert "nobody: may go" in said
        show(store, bundle[1][:12])
        said = capsys.readouterr().out
        for part in (bundle[1], "fitted on", "log loss", "commit", f"pass in .* against {simplest[:12]}"):
            assert re.search(part, said), part
        diff(store, bundle[1], simplest)
        said = capsys.readouterr().out
        assert "│ rung " in said
        assert "fitted on" not in said
        assert f"bundles   {bundle[1][:12]} and {simplest[:12]} differ in " in said


def test_a_bundle_that_was_altered_is_not_shown(bundle: tuple[str, str], tmp_path: Path) -> None:
    home = copy_of_bundle(bundle, tmp_path)
    (home / "model.onnx").write_bytes(b"another")
    variables = {"ML_STORE_URL": tmp_path, "ML_RELEASE_FOLDER": tmp_path / "environments"}
    assert "was altered: its core hashes to" in one_line(ml("bundles", "show", bundle[1], **variables))
    shutil.rmtree(home)
    assert "0 bundles begin with" in one_line(ml("bundles", "show", bundle[1], **variables))
