"""The release file: images by digest and no part of the plan, the way back to the byte, and what runs where."""

import asyncio
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import configured, ml, one_line
from promotion_evidence import IMAGE, LATER, NEW, NOW, OLD, trying

from ml.contract import release as contract
from ml.contract.release import Release
from ml.delivery import deployments
from ml.delivery.deployments import Deployment
from ml.errors import ContractError
from ml.promotion import change, remembered
from ml.promotion.revert import revert
from ml.promotion.status import status
from ml.serving import switch
from ml.serving.plan import Plan
from ml.settings import settings

RUNS = Release(champion=OLD)
WHO = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *WHO, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path, release: Release, environment: str = "staging") -> bytes:
    """Commit a release; returns the bytes of its file."""
    contract.write(release, environment)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", f"{environment}: {release.plan}")
    return contract.file(environment).read_bytes()


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Path]:
    """A repository that is set as the project's: nothing is released yet."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "nothing yet")
    variables = {"ML_RELEASE_FOLDER": folder / "environments", "ML_RELEASE_ENVIRONMENT": "staging"}
    with configured(**variables, ML_STORE_URL=tmp_path / "store"):
        yield folder


def test_a_release_is_written_read_and_written_again_to_the_byte(repository: Path) -> None:
    for told in (RUNS, trying("canary", 5, images={"serving": IMAGE, "stream": LATER})):
        contract.write(told, "production")
        assert contract.of("production") == told
        assert contract.file("production").read_text() == contract.text(told)
    assert contract.of("staging") is None
    assert contract.file("staging") == settings().release_file


def test_a_release_without_images_has_the_plan_it_always_had() -> None:
    assert RUNS.plan == "7f1b9ac2abe2"
    assert "images" not in contract.text(RUNS)


def test_images_are_no_part_of_the_plan() -> None:
    assert {RUNS.model_copy(update={"images": {"serving": each}}).plan for each in (IMAGE, LATER)} == {RUNS.plan}
    assert trying().plan != RUNS.plan


@pytest.mark.parametrize(
    "image",
    [
        "project-serving",
        "project-serving:1.0",
        "registry.example.org/team/project-serving:1.0@sha256:" + "1" * 64,
        "project-serving@sha256:" + "1" * 63,
        "project-serving@sha256:" + "G" * 64,
        "Project@sha256:" + "1" * 64,
        "https://registry.example.org/project@sha256:" + "1" * 64,
        "@sha256:" + "1" * 64,
        "project serving@sha256:" + "1" * 64,
    ],
)
def test_an_image_that_could_change_is_refused(repository: Path, image: str) -> None:
    told = f"champion: {OLD}\nimages: {{serving: '{image}'}}\n"
    with pytest.raises(ContractError, match=r"images\.serving: String should match pattern"):
        contract.parse(told.encode(), "release.yaml")


@pytest.mark.parametrize("where", ["project", "localhost:5001/project", "registry.example.org:443/a/b_c/d--e.f"])
def test_an_image_by_digest_is_taken_wherever_it_lies(where: str) -> None:
    image = f"{where}@sha256:{'1' * 64}"
    assert Release(champion=OLD, images={"training": image}).images == {"training": image}


def test_an_image_of_no_role_and_a_release_that_names_its_environment_are_refused() -> None:
    for line, said in ((f"images: {{gate: {IMAGE}}}", "images.gate"), ("environment: staging", "environment")):
        with pytest.raises(ContractError, match=rf"^release: here: {said}"):
            contract.parse(f"champion: {OLD}\n{line}\n".encode(), "here")


def test_a_service_takes_another_plan_and_no_other_image(
    bundle: tuple[str, str], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would call a plan both at work and at an end, and begin its counters anew for nothing."""
    champion, taken = Release(champion=bundle[1]), list[Plan]()
    monkeypatch.setattr(switch, "LOOK", 0.01)

    async def watched(watching: switch.Switch) -> None:
        looking = asyncio.create_task(watching.watch(taken.append))
        contract.write(champion.model_copy(update={"images": {"serving": IMAGE}}))
        await asyncio.sleep(0.3)
        assert taken == []
        other = trying(bundle=bundle[1], images={"serving": LATER}).model_copy(update={"champion": bundle[1]})
        contract.write(other)
        while not taken:
            await asyncio.sleep(0.01)
        looking.cancel()
        assert [plan.name for plan in taken] == [other.plan]

    with configured(ML_STORE_URL=bundle[0], ML_RELEASE_FOLDER=repository, ML_RELEASE_ENVIRONMENT="staging"):
        contract.write(champion)
        asyncio.run(asyncio.wait_for(watched(switch.Switch()), 60))


def test_a_revert_restores_the_very_bytes_and_says_how_long_it_took(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract.file("staging").parent.mkdir(parents=True)
    contract.file("staging").write_text(f"# By hand.\nchampion:   {OLD}   # kept as it was\n")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "by hand")
    before = contract.file("staging").read_bytes()
    commit(repository, trying("canary", 5))
    commit(repository, RUNS, "production")
    revert(False)
    assert contract.file("staging").read_bytes() == before
    said = capsys.readouterr().out
    assert f"champion {OLD[:12]}, plan {RUNS.plan}; it took 0." in said
    assert "is again what it was before commit " in said


def test_a_merge_is_one_change_however_many_commits_it_brought(repository: Path) -> None:
    before = commit(repository, RUNS)
    git(repository, "checkout", "--quiet", "-b", "promote/staging")
    commit(repository, trying("canary", 5))
    commit(repository, trying("canary", 25))
    git(repository, "checkout", "--quiet", "main")
    git(repository, "merge", "--quiet", "--no-ff", "--message", "merged", "promote/staging")
    revert(False)
    assert contract.file("staging").read_bytes() == before


def test_what_was_not_committed_is_taken_back_first(repository: Path) -> None:
    before = commit(repository, RUNS)
    contract.write(trying("canary", 5))
    revert(False)
    assert contract.file("staging").read_bytes() == before


def test_without_anything_before_nothing_is_changed(repository: Path, tmp_path: Path) -> None:
    before = commit(repository, RUNS)
    with pytest.raises(ContractError, match="git knows no release of staging before this one"):
        revert(False)
    assert contract.file("staging").read_bytes() == before
    variables = {"ML_RELEASE_FOLDER": tmp_path / "no repository", "ML_STORE_URL": tmp_path / "store"}
    assert "nothing was ever released in production" in one_line(ml("release", "revert", "production", **variables))


def test_what_is_proposed_is_on_its_branch_and_not_in_the_checkout(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = commit(repository, RUNS), commit(repository, trying())
    asked = list[object]()

    def propose(branch: str, paths: list[Path], title: str, body: str, *, merge: bool) -> str:
        asked.extend([branch, paths[0].read_bytes(), title, body, merge])
        return "https://github.example/pull/7"

    monkeypatch.setattr(change, "propose", propose)
    revert(True)
    assert asked[:3] == ["revert/staging", first, f"staging: back to {OLD[:12]}"]
    assert f"plan {RUNS.plan}; https://github.example/pull/7; it took 0." in capsys.readouterr().out
    assert contract.file("staging").read_bytes() == second

    def broken(*_: object, merge: bool) -> str:
        raise ContractError("proposal", "nobody answers", "Try again")

    monkeypatch.setattr(change, "propose", broken)
    for environment in ("staging", "production"):
        with pytest.raises(ContractError, match="nobody answers"):
            change.proposed(f"promote/{environment}", environment, first, "", "")
    assert contract.file("staging").read_bytes() == second
    assert contract.of("production") is None


def test_the_status_says_what_runs_what_is_proposed_and_what_is_missing(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(repository, RUNS, "production")
    commit(repository, RUNS.model_copy(update={"images": {"serving": IMAGE}}))
    told = contract.of("staging")
    assert told
    deployments.add(Deployment(environment="staging", release=told, at=NOW, outcome="good", revision=None, said=""))
    for branch in ("promote/staging", "revert/production"):
        git(repository, "checkout", "--quiet", "-b", branch)
        commit(repository, trying("canary", 5), branch.partition("/")[2])
        git(repository, "checkout", "--quiet", "main")
    git(repository, "branch", "promote/production")  # proposes what runs
    status()
    said = capsys.readouterr().out
    for part in (
        f"champion {OLD[:12]}", "team/project-serving@111111111111 ", "2026-11-21 12:00 UTC, good",
        f"promote/staging: │ champion {OLD[:12]}, canary {NEW[:12]} 5 %", "revert/production: │ champion",
        "never by `ml deploy`",
        "not yet in production: image serving of staging",
    ):  # fmt: skip
        assert part in " ".join(said.split()), part
    assert "promote/production" not in said


def test_the_status_says_what_runs_where_the_last_deployment_did_not_stay(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stage in ("staging", "production"):
        commit(repository, RUNS, stage)
    known = {"environment": "production", "at": NOW}
    deployments.add(Deployment(**known, release=RUNS, outcome="failed", said="pods did not come up"))
    status()
    said = " ".join(capsys.readouterr().out.split())
    assert "because │ pods did not come up" in said
    assert "runs │ nothing that was good" in said
    assert f"not yet in production: {OLD[:12]} of staging" in said

    deployments.add(Deployment(**known | {"at": NOW + timedelta(hours=1)}, release=RUNS, outcome="good"))
    harm = Deployment(**known | {"at": NOW + timedelta(hours=2)}, release=trying(), outcome="breach", said="5 % failed")
    deployments.add(harm)
    status()
    said = " ".join(capsys.readouterr().out.split())
    assert "breach: another release, champion" in said
    assert f"because │ 5 % failed │ │ │ runs │ champion {OLD[:12]} │" in said
    assert "not yet in production: nothing" in said


def test_proposals_of_the_remote_count_as_last_fetched(repository: Path, tmp_path: Path) -> None:
    commit(repository, RUNS)
    git(repository, "clone", "--quiet", "--bare", str(repository), str(tmp_path / "remote"))
    git(repository, "remote", "add", "origin", str(tmp_path / "remote"))
    assert list(remembered.proposals()) == []
    git(tmp_path, "clone", "--quiet", str(tmp_path / "remote"), "other")
    git(tmp_path / "other", "checkout", "--quiet", "-b", "promote/staging")
    with configured(ML_RELEASE_FOLDER=tmp_path / "other" / "environments"):
        content = commit(tmp_path / "other", trying())
    git(tmp_path / "other", "push", "--quiet", "origin", "promote/staging")
    with configured(ML_RELEASE_FOLDER=repository / "environments"):
        assert remembered.fetch() == ""
        (found,) = remembered.proposals()
        assert found == ("promote/staging", "staging", content)
        git(tmp_path / "remote", "branch", "--delete", "--force", "promote/staging")
        assert remembered.fetch() == ""
        assert list(remembered.proposals()) == []
        git(repository, "remote", "set-url", "origin", str(tmp_path / "nowhere"))
        assert "does not appear to be a git repository" in remembered.fetch()


def test_release_alone_names_a_bundle_and_its_help_lists_the_rest(tmp_path: Path) -> None:
    variables = {"ML_STORE_URL": tmp_path, "ML_RELEASE_FOLDER": tmp_path / "environments"}
    for words in (("release",), ("release", "name")):
        assert one_line(ml(*words, **variables)).endswith("Run `ml pipeline run`")
    assert "0 bundles begin with 'abc'" in one_line(ml("release", "abc", **variables))
    said = ml("release", "--help", COLUMNS=120, TERM="dumb").stdout
    assert all(f" {command} " in said for command in ("name", "status", "revert"))
