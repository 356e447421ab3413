"""GitHub as one small server of our own: a repository by git over HTTP, and the part of the API that delivery asks.

Who shows no token gets nothing. Pull requests are merged by git, in a bare repository; what is dispatched is noted, not
run. It is no proof of GitHub, having no rules, permissions or apps; docs/github.md says what only GitHub shows.
"""

import base64
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

NAME, TOKEN = "ada/churn", "a-token"
PAGE = 100
Told = dict[str, Any]


def git(folder: Path, *words: str) -> str:
    """Return what git prints; as Ada, whoever runs the tests."""
    ada = [word for key in ("name=Ada", "email=ada@example.org") for word in ("-c", f"user.{key}")]
    ran = subprocess.run(["git", *ada, "-C", folder, *words], check=True, capture_output=True, text=True)
    return ran.stdout.strip()


@dataclass
class Hub:
    """All that a GitHub remembers of one repository, which lies bare in `folder`."""

    folder: Path
    url: str
    pulls: dict[int, Told] = field(default_factory=dict)
    issues: dict[int, Told] = field(default_factory=dict)
    comments: dict[int, list[Told]] = field(default_factory=dict)
    dispatched: list[Told] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    merges: list[str] = field(default_factory=lambda: ["squash"])  # the ways that are allowed
    refusing: list[int] = field(default_factory=list)  # status codes of the next merges

    @property
    def main(self) -> str:
        """The commit of the default branch."""
        return git(self.folder, "rev-parse", "main")

    def variables(self) -> dict[str, str]:
        """What a workflow's runner tells its steps of where it is."""
        return {
            "GITHUB_API_URL": f"{self.url}/api",
            "GITHUB_SERVER_URL": self.url,
            "GITHUB_REPOSITORY": NAME,
            "GITHUB_TOKEN": TOKEN,
        }

    def open(self) -> list[Told]:
        """Return the pull requests that are open."""
        return [each for each in self.pulls.values() if each["state"] == "open"]

    def pull(self, told: Told) -> Told:
        """Open a pull request."""
        if self.find("open", told["head"]) or not self.has(told["head"]):
            return {"status": 422, "message": "Validation Failed"}
        number = 1 + len(self.pulls) + len(self.issues)
        page = f"{self.url}/{NAME}/pull/{number}"
        self.pulls[number] = {"number": number, "state": "open", "html_url": page, "merged": False, **told}
        return self.pulls[number]

    def has(self, branch: str) -> bool:
        """Return whether there is a branch of that name."""
        return bool(git(self.folder, "branch", "--list", branch))

    def find(self, state: str, head: str) -> list[Told]:
        """Return the pull requests of a state, from one branch, `owner:branch`."""
        branch = head.rpartition(":")[2]
        return [each for each in self.pulls.values() if (each["state"], each["head"]) == (state, branch)]

    def merge(self, number: int, way: str | None = None) -> Told:
        """Merge a pull request as one commit, whatever the way is called, or say why not."""
        if way and way not in self.merges:
            return {"status": 405, "message": "Merge method is not allowed"}
        if self.refusing:
            return {"status": self.refusing.pop(0), "message": "Not mergeable"}
        pull, main = self.pulls[number], self.main
        try:
            tree = git(self.folder, "merge-tree", "--write-tree", main, pull["head"])
        except subprocess.CalledProcessError:
            return {"status": 405, "message": "Merge conflict"}
        commit = git(self.folder, "commit-tree", tree, "-p", main, "-m", f"{pull['title']} (#{number})")
        git(self.folder, "update-ref", "refs/heads/main", commit, main)
        pull |= {"state": "closed", "merged": True, "merge_commit_sha": commit}
        return {"merged": True, "sha": commit}

    def issue(self, told: Told) -> Told:
        """Open an issue."""
        number = 1 + len(self.pulls) + len(self.issues)
        page = f"{self.url}/{NAME}/issues/{number}"
        self.issues[number] = {"number": number, "state": "open", "html_url": page, **told}
        return self.issues[number]

    def comment(self, number: int, told: Told) -> Told:
        """Add a comment."""
        said = self.comments.setdefault(number, [])
        id = sum(map(len, self.comments.values())) + 1
        said.append({"id": id, "html_url": f"{self.url}/{NAME}/issues/{number}#{id}", **told})
        return said[-1]

    def change_comment(self, id: int, told: Told) -> Told:
        """Change a comment."""
        (found,) = [each for said in self.comments.values() for each in said if each["id"] == id]
        return found | {"ignored": found.update(told)}

    def dispatch(self, workflow: str, told: Told) -> None:
        """Note that a workflow was started."""
        self.dispatched.append({"workflow": workflow, **told})


def page(found: list[Told], query: dict[str, str]) -> list[Told]:
    """Return a page of a list."""
    size, number = min(PAGE, int(query.get("per_page", 30))), int(query.get("page", 1))
    return found[size * (number - 1) : size * number]


ROUTES: dict[str, Callable[..., Any]] = {
    "GET ": lambda hub, query, told: {"default_branch": "main"},
    "GET /pulls": lambda hub, query, told: page(hub.find(query["state"], query["head"]), query),
    "POST /pulls": lambda hub, query, told: hub.pull(told),
    r"PATCH /pulls/(\d+)": lambda hub, query, told, number: hub.pulls[number] | {"_": hub.pulls[number].update(told)},
    r"PUT /pulls/(\d+)/merge": lambda hub, query, told, number: hub.merge(number, told["merge_method"]),
    "GET /issues": lambda hub, query, told: page([*hub.issues.values(), *hub.open()], query),
    "POST /issues": lambda hub, query, told: hub.issue(told),
    r"GET /issues/(\d+)/comments": lambda hub, query, told, number: page(hub.comments.get(number, []), query),
    r"POST /issues/(\d+)/comments": lambda hub, query, told, number: hub.comment(number, told),
    r"PATCH /issues/comments/(\d+)": lambda hub, query, told, id: hub.change_comment(id, told),
    r"POST /actions/workflows/([\w.-]+)/dispatches": lambda hub, query, told, name: hub.dispatch(name, told),
}


class Handler(BaseHTTPRequestHandler):
    """Reads a request, and lets git's own server or the API answer it."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Answer any method."""
        url, body = urlsplit(self.path), self.read()
        self.hub.asked.append(f"{self.command} {url.path}")
        kind, _, shown = self.headers.get("authorization", "").partition(" ")
        if (
            base64.b64decode(shown).decode() if kind == "basic" else f"x-access-token:{shown}"
        ) != f"x-access-token:{TOKEN}":
            return self.send(401, b'{"message": "Bad credentials"}', {"WWW-Authenticate": 'Basic realm="GitHub"'})
        if url.path.startswith(f"/{NAME}"):
            return self.send(*self.by_git(re.sub(rf"^/{NAME}(\.git)?", "", url.path), url.query, body))
        for pattern, does in ROUTES.items():
            if found := re.fullmatch(
                rf"({pattern.replace(' ', f' /api/repos/{NAME}', 1)})", f"{self.command} {url.path}"
            ):
                given = [int(each) if each.isdigit() else each for each in found.groups()[1:]]
                return self.tell(does(self.hub, dict(parse_qsl(url.query)), json.loads(body or b"{}"), *given))
        self.send(404, b'{"message": "Not Found"}')

    do_GET = do_POST = do_PATCH = do_PUT = answer

    def read(self) -> bytes:
        """Return the request's body, which git sends in chunks where it is long."""
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def by_git(self, path: str, query: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """Return what git's own server answers: status, body, headers. https://git-scm.com/docs/git-http-backend."""
        asked = {
            "GIT_PROJECT_ROOT": str(self.hub.folder), "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": "ada",
            "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("content-type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
        }  # fmt: skip
        ran = subprocess.run(
            ["git", "http-backend"], input=body, env=os.environ | asked, capture_output=True, check=True
        )
        head, _, content = ran.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        return int(headers.pop("Status", "200 OK").split()[0]), content, headers

    def tell(self, told: Any) -> None:
        """Send what the API answers."""
        status = told.get("status", 200) if isinstance(told, dict) else 200
        self.send(204 if told is None else status, b"" if told is None else json.dumps(told).encode())

    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def github(folder: Path) -> Iterator[Hub]:
    """Yield a GitHub on a free port, with one repository, empty so far, that is kept in a folder."""
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "main", folder], check=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = Hub(folder, f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = type("Its", (Handler,), {"hub": hub})
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
