"""Answers Prometheus what the monitor last found, until stopped."""

from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from ml.errors import ContractError
from ml.monitoring.exporter import FRESH, application
from ml.progress import say

LOST = b"ask GET /metrics or GET /livez\n"


class Server(ThreadingMixIn, WSGIServer):
    """A server that a caller who does not go on cannot hold up."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Says nothing of who asked: Prometheus does every few seconds."""

    timeout = 10  # seconds that a caller may take to ask

    def log_message(self, format: str, *words: object) -> None:
        """Say nothing."""


def server(host: str, port: int, url: str, fresh: float = FRESH) -> WSGIServer:
    """Return a server of GET /metrics and GET /livez; port 0 takes a free one. Raises OSError as bind does."""
    metrics = application(url, fresh)

    def answer(asked: dict[str, Any], start: Callable[..., Any]) -> Any:
        if asked["PATH_INFO"] == "/metrics":
            return metrics(asked, start)
        alive = asked["PATH_INFO"] == "/livez"
        start("200 OK" if alive else "404 Not Found", [("Content-Type", "text/plain")])
        return [b"" if alive else LOST]

    return make_server(host, port, answer, Server, Quiet)


def listen(host: str, port: int, url: str) -> None:
    """Answer with the reports below a URL; raises ContractError where the address is taken, or not this machine's."""
    try:
        answering = server(host, port, url)
    except OSError as error:
        broken = f"{host}:{port} cannot be listened on: {error.strerror}"
        raise ContractError("monitor", broken, "Choose another --host or --port") from error
    with answering:
        say("monitor", f"tells what is in {url} at http://{host}:{answering.server_port}/metrics")
        answering.serve_forever()
