"""GitHub, as far as delivery speaks to it: pull requests, comments, issues, and the start of a workflow.

https://docs.github.com/en/rest
"""

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx

from ml.errors import ContractError
from ml.github.repository import repository
from ml.progress import say

APP_ID, APP_KEY = "APP_CLIENT_ID", "APP_PRIVATE_KEY"  # variable and secret of an app that opens pull requests
MERGES = ("squash", "merge", "rebase") * 2  # ways to merge, of which a repository allows some, in the order of trying
NOT_YET = (405, 409)  # what is answered to another way, to a merge that a rule forbids, and while GitHub is not ready
PAUSE = 2.0  # seconds


class Refused(ContractError):
    """GitHub answered, with another status than it should have."""

    def __init__(self, status: int, broken: str, mend: str) -> None:
        super().__init__("GitHub", broken, mend)
        self.status = status


class GitHub(NamedTuple):
    """A repository, `owner/name`, at an API's address, and the token by which it is spoken to."""

    api: str
    repository: str
    token: str

    def pull_request(self, branch: str, title: str, body: str, merge: bool = False) -> tuple[int, str]:
        """Open a pull request of a branch onto the default branch, or update it; return its number and address.

        With `merge` it is merged at once; where a rule of the repository forbids that, it stays open. Raises
        ContractError where GitHub refuses.
        """
        owner = self.repository.partition("/")[0]
        told = {"title": title, "body": body}
        opened = self.get("/pulls", state="open", head=f"{owner}:{branch}")
        if opened:
            pull = self._ask("PATCH", f"/pulls/{opened[0]['number']}", told)
        else:
            pull = self._ask("POST", "/pulls", told | {"head": branch, "base": self.get("")["default_branch"]})
        if merge:
            self._merge(pull["number"])
        return int(pull["number"]), str(pull["html_url"])

    def comment(self, number: int, marker: str, body: str) -> str:
        """Leave a comment on a pull request, or update the one with the same marker; return its address."""
        sign = f"<!-- {marker} -->"
        told = {"body": f"{sign}\n{body}"}
        for each in self._each(f"/issues/{number}/comments"):
            if each["body"].startswith(sign):
                return str(self._ask("PATCH", f"/issues/comments/{each['id']}", told)["html_url"])
        return str(self._ask("POST", f"/issues/{number}/comments", told)["html_url"])

    def issue(self, title: str, body: str) -> str:
        """Open an issue; where one of that title is open, what is new becomes its comment. Return its address."""
        for each in self._each("/issues", state="open"):
            if each["title"] == title and "pull_request" not in each:
                self._ask("POST", f"/issues/{each['number']}/comments", {"body": body})
                return str(each["html_url"])
        return str(self._ask("POST", "/issues", {"title": title, "body": body})["html_url"])

    def dispatch(self, workflow: str, inputs: Mapping[str, str], branch: str | None = None) -> None:
        """Start a workflow, `train.yml`, on a branch, by default the default one; the default token may do so, too."""
        told = {"ref": branch or self.get("")["default_branch"], "inputs": dict(inputs)}
        self._ask("POST", f"/actions/workflows/{workflow}/dispatches", told)

    def get(self, path: str, **query: str) -> Any:
        """Return what GitHub tells of a path below the repository; raises Refused where it does not."""
        return self._ask("GET", path, query={"per_page": "100", **query})

    def _merge(self, number: int) -> None:
        """Merge a pull request, or leave it open where GitHub goes on to refuse."""
        for way in MERGES:
            try:
                self._ask("PUT", f"/pulls/{number}/merge", {"merge_method": way})
            except Refused as refused:
                if refused.status not in NOT_YET:
                    raise
                time.sleep(PAUSE)
            else:
                return
        say("merge", f"pull request {number} stays open: a rule of the repository keeps it, somebody has to merge it")

    def _each(self, path: str, **query: str) -> Iterator[Any]:
        """Yield the entries of a list, whatever number of pages it has."""
        page = 1
        while found := self.get(path, page=str(page), **query):
            yield from found
            page += 1

    def _ask(self, method: str, path: str, told: Any = None, query: Mapping[str, str] | None = None) -> Any:
        url = f"{self.api}/repos/{self.repository}{path}"
        headers = {"authorization": f"Bearer {self.token}", "accept": "application/vnd.github+json"}
        asked = {"params": query, "json": told, "headers": headers, "follow_redirects": True}
        try:
            answer = httpx.request(method, url, timeout=30, **asked)
        except httpx.HTTPError as error:
            raise ContractError("GitHub", f"{url} does not answer: {error}", "Try again later") from error
        if answer.is_error:
            why = f"{method} {url} answers {answer.status_code}: {answer.text[:200]}"
            raise Refused(answer.status_code, why, "`ml doctor github` says what the token lacks")
        return answer.json() if answer.content else None


def github() -> GitHub | None:
    """Return this project's repository on GitHub, as GITHUB_TOKEN may use it; None without a token."""
    token = os.environ.get("GITHUB_TOKEN")
    api = os.environ.get("GITHUB_API_URL", "https://api.github.com")
    return GitHub(api, repository(), token) if token else None


def needed(why: str) -> GitHub:
    """Return the same; raises ContractError without a token, which says what it is needed for."""
    found = github()
    if found is None:
        raise ContractError("GitHub", f"a token is needed {why}", "Set GITHUB_TOKEN, as $(gh auth token) prints one")
    return found
