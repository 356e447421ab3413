"""Kubeflow's API over HTTP, in memory: a real client talks to it, in the client's own models, and nothing ever runs.

It is no proof of a backend: it knows no permissions, resolves no parameter and starts no pod. What it holds is what was
sent, parsed as `kfp-server-api` describes it; docs/kubeflow.md names what only a backend shows.
"""

import email
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import kfp_server_api as models
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

CODEC = models.ApiClient()


class Body(NamedTuple):
    """What the client's own decoder reads from."""

    data: bytes


class Api:
    """All that a Kubeflow remembers, and what a run comes to as soon as it is begun."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []  # what was asked for, and by which token
        self.pipelines: dict[str, Any] = {}
        self.versions: dict[str, Any] = {}
        self.experiments: dict[str, Any] = {}
        self.runs: dict[str, Any] = {}
        self.recurring_runs: dict[str, Any] = {}
        self.logs: dict[str, str] = {}  # by pod
        self.refusing: list[int] = []  # status codes of the next looks at a run
        self.comes_to: Callable[[Any], None] = lambda run: setattr(run, "state", "SUCCEEDED")

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        """Return what a request is answered with: a model, text, or a status code."""
        whole = f"{method} {path.removeprefix('/apis/v2beta1')}"
        for pattern, does in ROUTES.items():
            if found := re.fullmatch(pattern, whole):
                return does(self, query, body, *found.groups())
        return 404

    def keep(self, kind: str, body: bytes, kept: dict[str, Any], id: str) -> Any:
        """Keep what was sent under a new id."""
        made = CODEC.deserialize(Body(body), kind)
        setattr(made, id, str(uuid4()))
        kept[getattr(made, id)] = made
        return made

    def upload(self, query: dict[str, str], content: bytes) -> Any:
        """Keep a version of a pipeline; one that is no pipeline is refused."""
        spec, *platform = yaml.safe_load_all(part(content))
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        for each in platform:
            json_format.ParseDict(each, pipeline_spec_pb2.PlatformSpec())
        made = models.V2beta1PipelineVersion(
            pipeline_id=query["pipelineid"], pipeline_version_id=str(uuid4()), display_name=query["name"],
            pipeline_spec={"pipeline_spec": spec, "platform_spec": platform[0]},
        )  # fmt: skip
        self.versions[made.pipeline_version_id] = made
        return made

    def begin(self, body: bytes) -> Any:
        """Begin a run, which is over at once."""
        run = self.keep("V2beta1Run", body, self.runs, "run_id")
        self.comes_to(run)
        return run

    def cancel(self, run: str) -> Any:
        """End a run."""
        self.runs[run].state = "CANCELED"
        return {}

    def look(self, run: str) -> Any:
        """Return a run."""
        return self.refusing.pop(0) if self.refusing else self.runs.get(run, 404)


def part(content: bytes) -> str:
    """Return the one file of a form."""
    (file,) = email.message_from_bytes(content).get_payload()
    return file.get_payload(decode=True).decode()


def found(kept: dict[str, Any], query: dict[str, str], **only: Any) -> list[Any]:
    """Return what the filter of a request chooses."""
    (rule,) = json.loads(query["filter"])["predicates"]
    chosen = [each for each in kept.values() if getattr(each, rule["key"]) == rule["stringValue"]]
    return [each for each in chosen if all(getattr(each, name) == value for name, value in only.items())]


def end(kept: dict[str, Any], id: str) -> Any:
    """Forget what has an id."""
    return {} if kept.pop(id, None) else 404


ROUTES: dict[str, Callable[..., Any]] = {
    "GET /healthz": lambda api, query, body: models.V2beta1GetHealthzResponse(multi_user=False),
    "GET /pipelines": lambda api, query, body: models.V2beta1ListPipelinesResponse(
        pipelines=found(api.pipelines, query)
    ),
    "POST /pipelines": lambda api, query, body: api.keep("V2beta1Pipeline", body, api.pipelines, "pipeline_id"),
    "GET /pipelines/([^/]+)/versions": lambda api, query, body, id: models.V2beta1ListPipelineVersionsResponse(
        pipeline_versions=found(api.versions, query, pipeline_id=id)
    ),
    "POST /pipelines/upload_version": lambda api, query, body: api.upload(query, body),
    "GET /experiments": lambda api, query, body: models.V2beta1ListExperimentsResponse(
        experiments=found(api.experiments, query)
    ),
    "POST /experiments": lambda api, query, body: api.keep("V2beta1Experiment", body, api.experiments, "experiment_id"),
    "POST /runs": lambda api, query, body: api.begin(body),
    "POST /runs/([^/:]+):terminate": lambda api, query, body, id: api.cancel(id),
    "GET /runs/([^/:]+)": lambda api, query, body, id: api.look(id),
    "GET /recurringruns": lambda api, query, body: models.V2beta1ListRecurringRunsResponse(
        recurring_runs=found(api.recurring_runs, query, experiment_id=query["experiment_id"])
    ),
    "POST /recurringruns": lambda api, query, body: api.keep(
        "V2beta1RecurringRun", body, api.recurring_runs, "recurring_run_id"
    ),
    "DELETE /recurringruns/([^/]+)": lambda api, query, body, id: end(api.recurring_runs, id),
    "GET /apis/v1alpha1/runs/[^/]+/nodes/([^/]+)/log": lambda api, query, body, pod: api.logs.get(pod, 500),
}


class Handler(BaseHTTPRequestHandler):
    """Reads a request and writes its answer."""

    api: Api

    def answer(self) -> None:
        """Answer any method."""
        url = urlsplit(self.path)
        self.api.asked.append((f"{self.command} {url.path}", self.headers.get("authorization", "")))
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if "multipart" in (kind := self.headers.get("content-type", "")):
            body = f"Content-Type: {kind}\n\n".encode() + body
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        told = self.api.answer(self.command, url.path, query, body)
        status = told if isinstance(told, int) else 200
        if status != 200:
            told = {"code": 5, "message": "it is not so"}
        content = told if isinstance(told, str) else json.dumps(CODEC.sanitize_for_serialization(told))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content.encode())

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def kubeflow() -> Iterator[tuple[str, Api]]:
    """Yield the address of an API on a free port, and what it remembers."""
    api = Api()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Its", (Handler,), {"api": api}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
