"""A change is proposed as a pull request from a branch of its own; the checkout that it comes from stays as it is."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ml
from github_api import NAME, TOKEN, Hub, git, github

from ml.errors import ContractError
from ml.github import api as speaking
from ml.github.api import Refused
from ml.github.proposal import propose

BRANCH = "promote/staging"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A GitHub whose repository has one release on its main branch, and that is asked as a workflow asks it."""
    with github(tmp_path / "hub.git") as hub:
        seed = tmp_path / "seed"
        git(tmp_path, "init", "--quiet", "--initial-branch", "main", str(seed))
        write(seed, "first")
        git(seed, "add", ".")
        git(seed, "commit", "--quiet", "--message", "Begin")
        git(seed, "push", "--quiet", str(hub.folder), "main")
        for name in ("GITHUB_ACTIONS", "APP_SLUG"):
            monkeypatch.delenv(name, raising=False)
        for name, value in hub.variables().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(speaking, "PAUSE", 0.0)
        yield hub


@pytest.fixture
def checkout(hub: Hub, tmp_path: Path) -> Path:
    """A shallow clone of it, as actions/checkout leaves one: with no credentials of its own."""
    folder = tmp_path / "checkout"
    git(tmp_path, "clone", "--quiet", "--depth=1", hub.folder.as_uri(), str(folder))
    git(folder, "remote", "set-url", "origin", f"{hub.url}/{NAME}")
    return folder


def write(folder: Path, text: str) -> Path:
    """Write the release of staging, and return its path."""
    file = folder / "environments" / "staging" / "release.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def proposed(hub: Hub, file: str = "environments/staging/release.yaml") -> str:
    return git(hub.folder, "show", f"{BRANCH}:{file}")


def test_a_change_becomes_one_commit_and_one_pull_request_and_the_checkout_stays(hub: Hub, checkout: Path) -> None:
    file, before = write(checkout, "second"), git(checkout, "rev-parse", "HEAD")
    (checkout / "else.txt").write_text("not proposed")
    url = propose(BRANCH, [file], "Try it", "The evidence.")
    (pull,) = hub.open()
    assert (pull["title"], pull["body"], pull["head"], pull["base"]) == ("Try it", "The evidence.", BRANCH, "main")
    assert url == pull["html_url"]
    assert proposed(hub) == "second"
    assert git(hub.folder, "diff", "--name-only", "main", BRANCH) == "environments/staging/release.yaml"
    assert git(hub.folder, "rev-list", "--count", f"main..{BRANCH}") == "1"
    assert git(checkout, "rev-parse", "HEAD", "--symbolic-full-name", "HEAD").split() == [before, "refs/heads/main"]
    assert git(checkout, "worktree", "list").count("\n") == 0
    assert TOKEN not in (checkout / ".git" / "config").read_text()


def test_the_same_again_keeps_the_commit_that_was_approved_and_another_replaces_it(hub: Hub, checkout: Path) -> None:
    file = write(checkout, "second")
    propose(BRANCH, [file], "Try it", "The evidence.")
    first = git(hub.folder, "rev-parse", BRANCH)
    propose(BRANCH, [file], "Try it", "More evidence.")
    assert git(hub.folder, "rev-parse", BRANCH) == first
    write(checkout, "third")
    propose(BRANCH, [file], "Try another", "The evidence.")
    (pull,) = hub.open()
    assert (proposed(hub), pull["title"], pull["number"]) == ("third", "Try another", 1)


def test_a_proposal_stands_on_the_newest_base_and_not_on_a_file_that_changed_there(hub: Hub, checkout: Path) -> None:
    other = checkout.with_name("other")
    git(checkout.parent, "clone", "--quiet", str(hub.folder), str(other))
    (other / "new.txt").write_text("meanwhile")
    git(other, "add", ".")
    git(other, "commit", "--quiet", "--message", "Meanwhile")
    git(other, "push", "--quiet")
    file = write(checkout, "second")
    propose(BRANCH, [file], "Try it", "")
    assert proposed(hub, "new.txt") == "meanwhile"
    write(other, "by somebody else")
    git(other, "commit", "--quiet", "--all", "--message", "Somebody else's")
    git(other, "push", "--quiet")
    with pytest.raises(ContractError, match=r"release\.yaml was changed on the base since this checkout"):
        propose(BRANCH, [file], "Try it", "")


def test_a_file_that_is_gone_is_proposed_to_go_and_nothing_new_proposes_nothing(hub: Hub, checkout: Path) -> None:
    file = write(checkout, "first")
    assert propose(BRANCH, [file], "Nothing", "") == BRANCH
    assert hub.pulls == {}
    file.unlink()
    propose(BRANCH, [file], "Take it away", "")
    assert git(hub.folder, "ls-tree", "-r", "--name-only", BRANCH) == ""


def test_a_pull_request_is_merged_at_once_where_that_is_asked_for(hub: Hub, checkout: Path) -> None:
    hub.refusing = [409]  # GitHub needs a moment to see that it can be merged
    hub.merges = ["rebase"]
    propose("revert/staging", [write(checkout, "second")], "Go back", "It broke.", merge=True)
    assert git(hub.folder, "show", "main:environments/staging/release.yaml") == "second"
    assert [(each["state"], each["merged"]) for each in hub.pulls.values()] == [("closed", True)]


def test_a_merge_that_a_rule_forbids_leaves_the_pull_request_open(
    hub: Hub, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.refusing = [405] * len(speaking.MERGES)
    url = propose("revert/staging", [write(checkout, "second")], "Go back", "It broke.", merge=True)
    assert "somebody has to merge it" in capsys.readouterr().out
    assert [each["html_url"] for each in hub.open()] == [url]


def test_without_a_token_the_branch_is_left_here_and_nothing_is_pushed(
    hub: Hub, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    assert propose(BRANCH, [write(checkout, "second")], "Try it", "") == BRANCH
    assert git(checkout, "show", f"{BRANCH}:environments/staging/release.yaml") == "second"
    assert git(hub.folder, "branch", "--list", BRANCH) == ""
    assert f"git push --force origin {BRANCH}" in capsys.readouterr().out


def test_a_token_that_github_does_not_know_is_told_in_one_line(
    hub: Hub, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "another")
    with pytest.raises(Refused, match=r"answers 401: .*Bad credentials"):
        propose(BRANCH, [write(checkout, "second")], "Try it", "")


@pytest.mark.parametrize(("app", "started"), [("", ["ci.yml"]), ("our-app", [])], ids=["default token", "app"])
def test_the_default_token_starts_the_checks_that_its_pull_request_does_not(
    app: str, started: list[str], hub: Hub, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("APP_SLUG", app)
    for _ in range(2):  # the second time there is no new commit to check
        propose(BRANCH, [write(checkout, "second")], "Try it", "")
    (pull,) = hub.open()
    told = {"ref": BRANCH, "inputs": {"pull_request": str(pull["number"])}}
    assert hub.dispatched == [{"workflow": each, **told} for each in started]


def test_what_lies_outside_of_the_repository_is_not_proposed(checkout: Path, tmp_path: Path) -> None:
    inside = write(checkout, "second")
    with pytest.raises(ContractError, match="is not in the repository"):
        propose(BRANCH, [inside, tmp_path / "elsewhere.yaml"], "Try it", "")


def test_one_comment_is_updated_whatever_number_of_others_there_are(hub: Hub) -> None:
    asked = speaking.github()
    assert asked is not None
    for each in range(120):
        hub.comment(7, {"body": f"Talk {each}"})
    asked.comment(7, "gate", "First.")
    asked.comment(7, "gate", "Second.")
    assert [each["body"] for each in hub.comments[7][119:]] == ["Talk 119", "<!-- gate -->\nSecond."]


def test_an_issue_of_the_same_title_is_opened_once_and_told_more(hub: Hub) -> None:
    asked = speaking.github()
    assert asked is not None
    first = asked.issue("It broke", "At noon.")
    assert asked.issue("It broke", "At one.") == first
    assert [each["body"] for each in hub.issues.values()] == ["At noon."]
    assert [each["body"] for each in hub.comments[1]] == ["At one."]


def test_a_workflow_is_started_with_its_inputs(hub: Hub) -> None:
    asked = speaking.github()
    assert asked is not None
    asked.dispatch("train.yml", {"since": "2013-01-01"})
    assert hub.dispatched == [{"workflow": "train.yml", "ref": "main", "inputs": {"since": "2013-01-01"}}]


def test_the_retraining_policy_starts_the_workflow_and_trains_nothing_itself(hub: Hub, tmp_path: Path) -> None:
    def retrain() -> str:
        ran = ml("retrain", "--on", "github", "--force", ML_STORE_URL=tmp_path / "store")
        return ran.stdout + ran.stderr

    assert "there is no verdict yet" in retrain()
    verdict = tmp_path / "store" / "reports" / "laptop" / "verdict.json"
    verdict.parent.mkdir(parents=True, exist_ok=True)  # what was answered lies there already
    verdict.write_text(json.dumps({"until": "2013-04-15", "bundle": "a" * 64}))
    assert "training on 2013-01-16 to 2013-04-15" in retrain()
    days = {"since": "2013-01-16", "until": "2013-04-15"}
    assert hub.dispatched == [{"workflow": "train.yml", "ref": "main", "inputs": days}]
    assert not (tmp_path / "store" / "bundles").exists()
