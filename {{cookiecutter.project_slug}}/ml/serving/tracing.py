"""A span of OpenTelemetry for each request for predictions, sent by OTLP over HTTP where a collector is named.

Where none is, nothing of this is loaded or called. One that does not answer costs spans and no request: a thread sends
them from a queue, which loses what it has no room for.
"""

import os
import threading
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING

from ml.serving.body import Message, Receive, Send
from ml.serving.plan import Plan
from ml.settings import settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

Answer = Callable[[Message, Receive, Send], Awaitable[None]]

COLLECTORS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
CALLER = (b"traceparent", b"tracestate")
ASKED = {"http.request.method": "POST", "http.route": "/predict", "url.path": "/predict"}
RECORDS = "ml.records"  # under which a request's scope says their number, once they are known
PATIENCE = 3.0  # seconds for the last spans: a pod has five to end


def on() -> bool:
    """Return whether a collector is named."""
    return any(os.environ.get(name) for name in COLLECTORS)


def traced(answer: Answer, plan: Callable[[], Plan]) -> Answer:
    """Return `answer` with a span around it that continues the caller's trace; where no collector is named, itself."""
    if not on():
        return answer
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    tracer, propagator = provider().get_tracer("ml.serving"), TraceContextTextMapPropagator()

    async def answering(scope: Message, receive: Receive, send: Send) -> None:
        caller = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in CALLER}
        asked = {**ASKED, "url.scheme": scope["scheme"]}
        span = tracer.start_span("POST /predict", propagator.extract(caller), SpanKind.SERVER, asked)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                _tell(span, message["status"])
            await send(message)

        try:
            await answer(scope, receive, sending)
        finally:
            span.set_attributes({"ml.plan": plan().name, "ml.bundle": plan().release.champion})
            if RECORDS in scope:
                span.set_attribute(RECORDS, scope[RECORDS])
            span.end()

    return answering


def _tell(span: "Span", status: int) -> None:
    """Tell a span how it was answered: whoever gets no prediction has met an error, his own or ours."""
    span.set_attribute("http.response.status_code", status)
    if status >= 400:
        from opentelemetry.trace import StatusCode

        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)


@cache
def provider() -> "TracerProvider":
    """Return what makes and sends the spans of this process, as the OTEL_ variables say."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    conf = settings()
    ours = {"service.name": conf.project.slug, "deployment.environment.name": conf.release.environment}
    made = TracerProvider(resource=Resource.create(ours).merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made


def close() -> None:
    """Send what is left, and give it up where that takes longer than the patience: the exporter has more of it."""
    if on():
        sending = threading.Thread(target=provider().shutdown, daemon=True)
        sending.start()
        sending.join(PATIENCE)
