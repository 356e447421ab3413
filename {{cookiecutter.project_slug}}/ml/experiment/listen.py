"""Answers what a rollout asks: the verdict as JSON over HTTP. An error has no verdict, and so cannot pass."""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, urlsplit

from ml.errors import ContractError
from ml.experiment.experiment import judged
from ml.progress import say

FRESH = 30.0  # seconds that an answer is given again
NAMES = 16  # answers kept
Answer = tuple[int, bytes]


class Answers:
    """Verdicts by experiment, one computed at a time and each at most every `fresh` seconds."""

    def __init__(self, fresh: float = FRESH) -> None:
        self._fresh, self._lock = fresh, Lock()
        self._known: dict[str | None, tuple[float, Answer]] = {}

    def of(self, name: str | None) -> Answer:
        """Return status and JSON of an experiment, by default of the one that runs; errors are kept as well."""
        with self._lock:
            known = self._known.get(name)
            if known is None or time.monotonic() - known[0] >= self._fresh:
                if len(self._known) >= NAMES:
                    self._known.clear()
                known = self._known[name] = time.monotonic(), _answer(name)
            return known[1]


def _answer(name: str | None) -> Answer:
    try:
        found, _ = judged(name)
        return 200, found.model_dump_json().encode()
    except ContractError as error:
        return 503, error_of(str(error))
    except Exception as error:  # whatever it is, it is no verdict
        return 503, error_of(f"{type(error).__name__}: {error}")


def error_of(reason: str) -> bytes:
    """Return an error's JSON; it has no verdict."""
    return json.dumps({"error": reason}).encode()


def server(host: str, port: int, fresh: float = FRESH) -> ThreadingHTTPServer:
    """Return a server of GET /v1/verdict?name= and GET /livez; port 0 takes a free one. Raises OSError as bind does."""
    answers = Answers(fresh)

    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds that a caller may take to ask

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            if asked.path == "/livez":
                self._send(200, b"{}")
            elif asked.path == "/v1/verdict":
                self._send(*answers.of(parse_qs(asked.query).get("name", [None])[0]))
            else:
                self._send(404, error_of("ask GET /v1/verdict?name=<experiment> or GET /livez"))

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *words: object) -> None:
            """Say nothing: a rollout asks every minute."""

    return ThreadingHTTPServer((host, port), Handler)


def listen(host: str, port: int) -> None:
    """Answer until stopped; raises ContractError where the address is taken, or not this machine's."""
    try:
        answering = server(host, port)
    except OSError as error:
        broken = f"{host}:{port} cannot be listened on: {error.strerror}"
        raise ContractError("experiment", broken, "Choose another --host or --port") from error
    with answering:
        say("experiment", f"answers at http://{host}:{answering.server_port}/v1/verdict")
        answering.serve_forever()
