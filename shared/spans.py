"""The spans of a trace: a request, what it publishes, and what tails apply; the only module that knows OpenTelemetry.

No header but the request's id, no query, no payload, and no message of an error becomes part of a span.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.util import Finalize
from typing import Final

from flask import Flask, Response, g, request
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from eventlog import Event, Published, RecordedEvent
from eventlog.subscription import AppliedBatch
from shared.request_ids import request_id
from shared.traceparent import TRACEPARENT, requested_traceparent

MOST_OF_A_BATCH: Final = (
    100  # traces that a batch is shown in: one that catches up must not drown the collector
)
_END_WITHIN_S: Final = 2.0  # for what is not exported yet, before supervisors lose patience
_METHODS: Final = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_UNTRACED: Final = ("/health/", "/metrics")  # asked every few seconds by whoever watches

_SCOPE: Final = "revenue-stream"
# A setting that they pass over is a line; not so a header, which may be a secret.
_LOGGERS_ABOUT_SETTINGS: Final = (
    "opentelemetry.sdk.trace.sampling",
    "opentelemetry.exporter.otlp.proto.http._common",
)

_propagator = TraceContextTextMapPropagator()


class Spans:
    """Exported in the background, in batches; what a collector does not take in time is dropped."""

    def __init__(self, process: str) -> None:
        # One line for each batch that could not be exported is enough; its retries need none.
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)
        for about_settings in _LOGGERS_ABOUT_SETTINGS:
            logging.getLogger(about_settings).setLevel(logging.WARNING)
        named = {SERVICE_NAME: process, **OTELResourceDetector().detect().attributes}
        resource = Resource.create(named)
        as_asked = TracerProvider(resource=resource, shutdown_on_exit=False)
        # A batch's trace begins with it: any other sampler would choose anew, whatever was chosen for its entries.
        always = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        # Last of what may be refused: it begins a thread.
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        for provider in (as_asked, always):
            provider.add_span_processor(self._processor)
        self._tracer = as_asked.get_tracer(_SCOPE)
        self._batch_tracer = always.get_tracer(_SCOPE)
        # Once, when it is called or the process ends; unlike atexit in the forked workers of a web server, too.
        self.end = Finalize(None, self._export_the_last, exitpriority=1)

    def begin_with_requests(self, app: Flask) -> None:
        """Each request is a span, part of the caller's trace if it names one."""

        @app.before_request
        def begin() -> None:
            if request.path.startswith(_UNTRACED):
                return
            method = request.method if request.method in _METHODS else "_OTHER"
            attributes: dict[str, AttributeValue] = {
                "http.request.method": method,
                "url.scheme": request.scheme,
                "http.request.header.x-request-id": [request_id(request.environ)],
            }
            if request.url_rule is not None:
                attributes["http.route"] = request.url_rule.rule
            span = self._tracer.start_span(
                f"{method} {attributes.get('http.route', '')}".rstrip(),
                _context_of(requested_traceparent(request.environ)),
                SpanKind.SERVER,
                attributes,
            )
            g.span = span
            g.trace_id = trace.format_trace_id(span.get_span_context().trace_id)
            g.span_token = context.attach(trace.set_span_in_context(span))

        @app.after_request
        def note(response: Response) -> Response:
            if "span" in g:
                g.span.set_attribute("http.response.status_code", response.status_code)
                if response.status_code >= 500:
                    g.span.set_status(StatusCode.ERROR)
            return response

        @app.teardown_request
        def end(_: BaseException | None) -> None:
            if "span" in g:
                g.pop("span").end()
                context.detach(g.pop("span_token"))

    def publish(
        self,
        events: Sequence[Event],
        traceparent: str | None,
        publish: Callable[[str | None], Published],
    ) -> Published:
        """A span around `publish`, which the events then carry; for a trace that is not sampled, what was asked."""
        with self._tracer.start_as_current_span(
            "publish",
            kind=SpanKind.PRODUCER,
            attributes=_messaging("send", len(events)),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            if not span.is_recording():
                return publish(traceparent)
            carrier: dict[str, str] = {}
            _propagator.inject(carrier)
            try:
                published = publish(carrier[TRACEPARENT])
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(StatusCode.ERROR)
                raise
            span.set_attribute("eventlog.position", str(published.position))
            span.set_attribute("eventlog.replayed", published.replayed)
            return published

    def of_batch(self, batch: AppliedBatch) -> None:
        """Of all entries that came of one span, one that is its child; where a batch has others, a span of its own.

        The spans of the entries and that of the batch are linked to each other. Only entries of sampled traces, of
        the first 100 of them; that of the batch is there where one of them is.
        """
        traced = _by_origin(batch.recorded)
        begun = {origin: self._begin_apply(batch, origin, entries) for origin, entries in traced.items()}
        applied = {origin: span for origin, span in begun.items() if span.is_recording()}
        if applied and all(len(entries) < batch.entries for entries in traced.values()):
            whole = self._batch_tracer.start_span(
                f"apply batch to {batch.projection}",
                context.Context(),
                SpanKind.CONSUMER,
                _messaging("process", batch.entries),
                [Link(_span_context(origin)) for origin in applied],
                batch.began_ns,
            )
            whole.end(batch.ended_ns)
            for span in applied.values():
                span.add_link(whole.get_span_context())
        for span in applied.values():
            span.end(batch.ended_ns)

    def _begin_apply(
        self, batch: AppliedBatch, origin: str, entries: Sequence[RecordedEvent[Event]]
    ) -> trace.Span:
        span = self._tracer.start_span(
            f"apply to {batch.projection}",
            _context_of(origin),
            SpanKind.CONSUMER,
            {**_messaging("process", len(entries)), "eventlog.position": entries[-1].id},
            start_time=batch.began_ns,
        )
        if not {str(parked.position) for parked in batch.parked}.isdisjoint(entry.id for entry in entries):
            span.set_status(Status(StatusCode.ERROR, "parked"))
        return span

    def _export_the_last(self) -> None:
        """For so long as a collector may take, and no longer."""
        ending = threading.Thread(target=self._processor.shutdown, daemon=True)
        ending.start()
        ending.join(_END_WITHIN_S)


def _by_origin(recorded: Sequence[RecordedEvent[Event]]) -> Mapping[str, list[RecordedEvent[Event]]]:
    """The entries of the first sampled traces, by the traceparent that they carry."""
    found: dict[str, list[RecordedEvent[Event]]] = {}
    for each in recorded:
        origin = each.metadata.traceparent
        if origin is None:
            continue
        if origin not in found:
            if len(found) == MOST_OF_A_BATCH or not _span_context(origin).trace_flags.sampled:
                continue
            found[origin] = []
        found[origin].append(each)
    return found


def _span_context(traceparent: str) -> trace.SpanContext:
    """An invalid one, which is not sampled, where it cannot be read."""
    return trace.get_current_span(_context_of(traceparent)).get_span_context()


def _context_of(traceparent: str | None) -> context.Context:
    """Of the span that it names; without one, or one that can be read, of none."""
    carrier = {} if traceparent is None else {TRACEPARENT: traceparent}
    return _propagator.extract(carrier, context.Context())


def _messaging(operation: str, entries: int) -> dict[str, AttributeValue]:
    return {
        "messaging.system": "redis",
        "messaging.operation.type": operation,
        "messaging.batch.message_count": entries,
    }
