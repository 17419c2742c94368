"""OpenTelemetry: spans and GenAI metrics of what was committed, sent by its own threads.

The libraries are the extra `otel`; they are imported when somebody has configured where to send to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from fleetprompt.engine.core.codec import items
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Append, Store
from fleetprompt.engine.telemetry import conventions as names
from fleetprompt.engine.telemetry.spans import Span, Spans

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import SpanProcessor

SCOPE = "fleetprompt"
NANOSECONDS = 1_000_000_000
PATIENCE = 5_000
"""Milliseconds that what is left may take to be sent when the process ends."""
_CONSIDERED = (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL, names.RESPONSE_MODEL)


class Target(Struct, frozen=True, kw_only=True):
    """Where to send."""

    endpoint: str
    """Base URL of an OTLP/HTTP receiver: `/v1/traces` and `/v1/metrics` are below it."""
    headers: Mapping[str, str] = {}
    service: str = "fleetprompt"


class OpenTelemetry:
    """Observes an engine. Made by `open_telemetry`."""

    traces: ClassVar[bool] = True

    def __init__(
        self,
        processor: SpanProcessor,
        reader: MetricReader | None = None,
        *,
        service: str = "fleetprompt",
        version: str = "",
        redact: Callable[[str], str] = str,
    ) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        self.redact = redact
        """Applied to every text that leaves."""
        self._ids = _ids()
        resource = Resource.create({"service.name": service, "service.version": version})
        self._traces = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._traces.add_span_processor(processor)
        self._tracer = self._traces.get_tracer(SCOPE, version)
        self._meters = _Meters(resource, reader, version) if reader is not None else None
        self._spans = Spans()

    async def begin(self, store: Store) -> None:
        """See `Observer`: nothing is needed."""

    def committed(self, run: Run, entry: Append) -> None:
        """See `Observer`. What is sent is queued here, and dropped where the receiver does not keep up."""
        for span in self._spans.of(run, entry):
            if span.spot.sampled:
                self._send(span)
            if self._meters is not None:
                self._meters.count(span)

    def _send(self, span: Span) -> None:
        from opentelemetry.trace import Link, SpanKind, Status, StatusCode

        self._ids.next = span.spot
        attributes = {name: self._redacted(value) for name, value in span.attributes.items()}
        if span.error:
            attributes[names.ERROR_TYPE] = span.error
        made = self._tracer.start_span(
            span.name,
            context=_context(span.parent),
            kind=SpanKind.CLIENT if span.client else SpanKind.INTERNAL,
            attributes=attributes,
            links=[Link(_remote(link)) for link in span.links],
            start_time=round(span.begin * NANOSECONDS),
        )
        if span.error:
            made.set_status(Status(StatusCode.ERROR, self.redact(span.message)))
        made.end(round(max(span.begin, span.end) * NANOSECONDS))

    def _redacted(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._redacted(item) for item in items(value)]
        return self.redact(value) if isinstance(value, str) else value

    def close(self) -> None:
        """Send what is left. Blocks, for a few seconds at most."""
        self._traces.force_flush(PATIENCE)
        self._traces.shutdown()
        if self._meters is not None:
            self._meters.close()


class _Meters:
    """Metrics of the GenAI conventions, from the same spans."""

    def __init__(self, resource: Any, reader: MetricReader, version: str) -> None:
        from opentelemetry.sdk.metrics import MeterProvider

        self._provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        meter = self._provider.get_meter(SCOPE, version)

        def seconds(name: str) -> Any:
            return meter.create_histogram(name, unit="s", explicit_bucket_boundaries_advisory=names.SECONDS)

        self._tokens = meter.create_histogram(
            names.TOKEN_USAGE, unit="{token}", explicit_bucket_boundaries_advisory=names.TOKENS
        )
        self._durations = {
            names.INVOKE_WORKFLOW: (seconds(names.WORKFLOW_SECONDS), (names.WORKFLOW_NAME,)),
            names.INVOKE_AGENT: (seconds(names.AGENT_SECONDS), (names.AGENT_NAME,)),
            names.EXECUTE_TOOL: (seconds(names.TOOL_SECONDS), (names.TOOL_NAME,)),
        }
        self._requests = seconds(names.OPERATION_SECONDS)
        self._first = seconds(names.FIRST_CHUNK_SECONDS)
        self._calls = {
            name: meter.create_histogram(name, unit=unit, explicit_bucket_boundaries_advisory=names.CALLS)
            for name, unit in ((names.INFERENCE_CALLS, "{inference_call}"), (names.TOOL_CALLS, "{tool_call}"))
        }

    def count(self, span: Span) -> None:
        """Count what is over."""
        said = span.attributes
        operation = said.get(names.OPERATION)
        if operation is None:
            return
        error = {names.ERROR_TYPE: span.error} if span.error else {}
        lasted = max(0.0, span.end - span.begin)
        if operation in self._durations:
            histogram, of = self._durations[operation]
            whose = {name: said[name] for name in of if name in said}
            histogram.record(lasted, whose | error)
            for name, number in span.counts.items():
                self._calls[name].record(number, whose)
            return
        about = {name: said[name] for name in _CONSIDERED if name in said}
        self._requests.record(lasted, about | error)
        if names.FIRST_CHUNK in said:
            self._first.record(said[names.FIRST_CHUNK], about)
        for type_, name in (("input", names.INPUT_TOKENS), ("output", names.OUTPUT_TOKENS)):
            if name in said:
                self._tokens.record(said[name], about | {names.TOKEN_TYPE: type_})

    def close(self) -> None:
        self._provider.force_flush(PATIENCE)
        self._provider.shutdown()


def open_telemetry(target: Target, *, version: str, redact: Callable[[str], str]) -> OpenTelemetry:
    """Sends to an OTLP/HTTP receiver. Raises `InvalidInput` where the libraries are missing."""
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise InvalidInput(
            f"[telemetry] names a receiver, and OpenTelemetry is not installed ({error.name})",
            where="fleet.toml",
            hint="pip install 'fleetprompt[otel]', or take `otlp_endpoint` out",
        ) from None
    base, headers = target.endpoint.rstrip("/"), dict(target.headers)
    return OpenTelemetry(
        BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces", headers=headers)),
        PeriodicExportingMetricReader(OTLPMetricExporter(f"{base}/v1/metrics", headers=headers)),
        service=target.service,
        version=version,
        redact=redact,
    )


def _ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class Given(IdGenerator):
        """Ids are derived from facts, not drawn."""

        next: Any = None

        def generate_span_id(self) -> int:
            return int(self.next.span, 16)

        def generate_trace_id(self) -> int:
            return int(self.next.trace, 16)

    return Given()


def _remote(spot: Any) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(int(spot.trace, 16), int(spot.span, 16), is_remote=True, trace_flags=TraceFlags(spot.sampled))


def _context(parent: Any) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    # An empty one and not None: what is current in this process is not where the run is.
    return set_span_in_context(NonRecordingSpan(_remote(parent)), Context()) if parent is not None else Context()
