"""Traces: a collector gets a span for each request, one that is down holds up nobody, and without one there is none."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from conftest import NOON, ROOT, configured, copy_of_bundle
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from serving_parts import process

from ml.contract import events
from ml.eventlog.read import read
from ml.problem.schema import EXAMPLE
from ml.serving import server, tracing
from ml.serving.endpoints import Endpoints
from ml.settings import settings

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
AT_THE_END = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}  # milliseconds: no span is sent but when the service ends


class Collector(ThreadingHTTPServer):
    """Takes spans by OTLP over HTTP, as a real collector does, and keeps them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.got: list[ExportTraceServiceRequest] = []

    @property
    def spans(self) -> list[Span]:
        each = [scope for got in self.got for resource in got.resource_spans for scope in resource.scope_spans]
        return [span for scope in each for span in scope.spans]

    @property
    def resource(self) -> dict[str, Any]:
        return plain(self.got[0].resource_spans[0].resource.attributes)


class Taking(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *told: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        Thread(target=collector.serve_forever).start()
        yield collector
        collector.shutdown()


def plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@pytest.fixture
def service(bundle: tuple[str, str], tmp_path: Path) -> Callable[..., Any]:
    """Run the service with variables set; what is yielded takes requests, at noon of a day in April."""

    @contextlib.contextmanager
    def run(**variables: str) -> Iterator[httpx.Client]:
        copy_of_bundle(bundle, tmp_path)
        with (
            configured(ML_STORE_URL=tmp_path, ML_RELEASE_BUNDLE=bundle[1], **variables),
            server.running("127.0.0.1", server.free_port(), "simulated", tmp_path / "serve.log") as service,
            httpx.Client(base_url=service.url, headers=NOON, timeout=5) as client,
        ):
            yield client

    return run


@pytest.mark.slow
def test_each_request_is_a_span_of_its_callers_trace_sent_at_the_latest_at_the_end(
    bundle: tuple[str, str], collector: Collector, service
) -> None:
    with service(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **AT_THE_END) as client:
        sampled, unsampled = (
            {"traceparent": f"00-{TRACE}-{CALLER}-{flag}", "tracestate": "gate=7"} for flag in ("01", "00")
        )
        assert client.post("/predict", json=[EXAMPLE] * 3, headers=sampled).status_code == 200
        assert client.post("/predict", json=[EXAMPLE] * 5, headers=unsampled).status_code == 200
        assert client.post("/predict", json=EXAMPLE).status_code == 200
        assert client.post("/predict", json={"spam": 1}).status_code == 400
        plan = client.get("/readyz").json()["plan"]
        assert collector.spans == []
    told = {"http.request.method": "POST", "http.route": "/predict", "url.path": "/predict", "url.scheme": "http"}
    told |= {"ml.plan": plan, "ml.bundle": bundle[1]}
    three, one, bad = collector.spans
    assert plain(three.attributes) == {**told, "http.response.status_code": 200, "ml.records": 3}
    assert plain(one.attributes) == {**told, "http.response.status_code": 200, "ml.records": 1}
    assert plain(bad.attributes) == {**told, "http.response.status_code": 400, "error.type": "400"}
    assert [span.status.code for span in (three, one, bad)] == [Status.STATUS_CODE_UNSET] * 2 + [
        Status.STATUS_CODE_ERROR
    ]
    assert {(span.name, span.kind) for span in (three, one, bad)} == {("POST /predict", Span.SPAN_KIND_SERVER)}
    assert (three.trace_id.hex(), three.parent_span_id.hex(), three.trace_state) == (TRACE, CALLER, "gate=7")
    assert one.parent_span_id == bad.parent_span_id == b""
    assert len({span.trace_id for span in (three, one, bad)}) == 3
    assert all(span.start_time_unix_nano < span.end_time_unix_nano for span in (three, one, bad))
    named = {"service.name": settings().project.slug, "deployment.environment.name": settings().release.environment}
    assert named.items() <= collector.resource.items()


def test_a_request_that_could_not_be_answered_is_an_error_and_the_variables_name_the_service(
    bundle: tuple[str, str], collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/v1/traces")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "spam")
    tracing.provider.cache_clear()
    with process(bundle, tmp_path) as broken:
        monkeypatch.setattr(broken.predictor, "serve", lambda requests: 1 / 0)
        endpoints: Any = Endpoints(None, lambda: broken)

        async def ask() -> int:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(endpoints), base_url="http://service") as client:
                return (await client.post("/predict", json=EXAMPLE)).status_code

        assert asyncio.run(ask()) == 500
        tracing.close()
    (span,) = collector.spans
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert {"http.response.status_code": 500, "error.type": "500", "ml.records": 1}.items() <= plain(
        span.attributes
    ).items()
    assert collector.resource["service.name"] == "spam"


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """Yield a port on which nobody listens."""
    yield server.free_port()


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """Yield a port on which somebody listens, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("down", [nobody, silent])
def test_a_collector_that_is_down_holds_up_neither_a_request_nor_the_end(
    down, service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_force, end = list[int](), server.processes.end  # it ends so who has not ended ten seconds after being told
    monkeypatch.setattr(server.processes, "end", lambda process: (by_force.append(process), end(process)))
    variables = {"OTEL_BSP_SCHEDULE_DELAY": "1", "OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
    with (
        down() as port,
        service(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}", **variables) as client,
    ):
        for _ in range(20):
            assert client.post("/predict", json=EXAMPLE).status_code == 200
    assert by_force == []
    assert len(read(str(tmp_path / "events/laptop"), events.PREDICTIONS)) == 20


PROGRAM = """
import asyncio, sys
import httpx
from ml.serving.endpoints import Endpoints

class Idle:
    class predictor:
        class plan:
            name = "none"
            class release:
                champion = "none"
    draining = False
    def set_clock(self, told): pass

endpoints, called = Endpoints(None, Idle), set()

async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(endpoints), base_url="http://service") as client:
        sys.setprofile(lambda frame, event, given: called.add(frame.f_globals["__name__"]))
        assert (await client.post("/predict", json=[])).status_code == 200
        sys.setprofile(None)

asyncio.run(ask())
assert "ml.serving.endpoints" in called
print(sorted(name for name in called if name == "ml.serving.tracing"))
print(sorted(name for name in sys.modules if name.startswith("opentelemetry"))[:1])
"""


@pytest.mark.parametrize(
    ("variables", "called", "loaded"),
    [
        ({}, "[]", "[]"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, "['ml.serving.tracing']", "['opentelemetry']"),
    ],
    ids=["off", "on"],
)
def test_where_no_collector_is_named_nothing_is_loaded_and_nothing_called(
    variables: dict[str, str], called: str, loaded: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | variables
    ran = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.stdout.splitlines() == [called, loaded], ran.stderr
