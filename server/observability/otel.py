"""Traces by OpenTelemetry, sent to a collector by OTLP over HTTP.

Its own variables (``OTEL_SERVICE_NAME``, ``OTEL_TRACES_SAMPLER``, ``OTEL_EXPORTER_OTLP_HEADERS``,
…) are honoured where they are in the environment: the SDK reads them.

Spans wait in a bounded queue for a thread of their own. A collector that is slow or down costs the
spans that don't fit, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextvars import Token
from types import TracebackType

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import (
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from agent.tracing import Attributes, Kind, Span
from memory.records import Turn
from server.observability.traces import Traces

log = logging.getLogger(__name__)

# Some seconds of a busy server, and a few MB.
MAX_WAITING_SPANS = 8_192
MAX_SPANS_TOGETHER = 512
SEND_EVERY_MS = 1_000
SEND_SECONDS = 3.0
CLOSE_SECONDS = 2.0

# Turns whose call is remembered: those that wait in line are among the latest.
MAX_BROUGHT = 10_000

# Of what they say of a collector that is away, there are lines without end; ``_Told`` says it once.
CHATTY = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")

KINDS: Mapping[Kind, trace.SpanKind] = {
    "internal": trace.SpanKind.INTERNAL,
    "server": trace.SpanKind.SERVER,
    "client": trace.SpanKind.CLIENT,
}


class CollectedSpan(Span):
    """A context manager as well: then what is inside is a part of it."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._token: Token[Context] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        context = self._span.get_span_context()
        parts = f"{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        return {"traceparent": f"00-{parts}"}

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def failed(self, why: str) -> None:
        self._span.set_attribute("error.type", why)
        self._span.set_status(trace.StatusCode.ERROR)

    def end(self) -> None:
        self._span.end()

    def __enter__(self) -> CollectedSpan:
        self._token = otel_context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._token is not None:
            otel_context.detach(self._token)
        # Its text may be somebody's words. Who is cancelled has not failed.
        if kind is not None and not issubclass(kind, asyncio.CancelledError):
            self.failed(kind.__name__)
        self._span.end()


class _Told(SpanExporter):
    """Sends by another one, and tells the log when that begins to fail, and when it works again."""

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._exporter = exporter
        self._endpoint = re.sub(r"//.*@", "//", endpoint)  # without a password
        self._works = True
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        works = result is SpanExportResult.SUCCESS
        if works != self._works:
            self._works = works
            told = {"action": "traces", "collector": self._endpoint}
            if works:
                log.info("Traces are sent again.", extra=told)
            else:
                log.warning("Traces can't be sent; nothing waits for them.", extra=told)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class CollectedTraces(Traces):
    on = True

    def __init__(self, endpoint: str, version: str) -> None:
        ours = Resource.create({SERVICE_NAME: "mnemosio", SERVICE_VERSION: version})
        resource = ours.merge(OTELResourceDetector().detect())  # who runs it may name it otherwise
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=SEND_SECONDS
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                _Told(exporter, endpoint),
                max_queue_size=MAX_WAITING_SPANS,
                max_export_batch_size=MAX_SPANS_TOGETHER,
                schedule_delay_millis=SEND_EVERY_MS,
            )
        )
        self._tracer = self._provider.get_tracer("mnemosio", version)
        self._brought: OrderedDict[str, trace.SpanContext] = OrderedDict()

    def begin(
        self, name: str, attributes: Attributes | None = None, kind: Kind = "client"
    ) -> CollectedSpan:
        return self._begin(name, attributes, kind, None)

    def span(
        self, name: str, attributes: Attributes | None = None, kind: Kind = "internal"
    ) -> CollectedSpan:
        return self._begin(name, attributes, kind, None)

    def turn(self, turn: Turn) -> CollectedSpan:
        # Not of what goes on here: that may be the end of the turn before it, or another's call.
        above = Context()
        brought = self._brought.get(turn.id)
        if brought is not None:
            above = trace.set_span_in_context(trace.NonRecordingSpan(brought), above)
        attributes: Attributes = {
            "mnemosio.conversation_id": turn.conversation_id,
            "mnemosio.turn_id": turn.id,
            "mnemosio.attempt": turn.attempt,
        }
        return self._begin("turn", attributes, "internal", above)

    def _begin(
        self, name: str, attributes: Attributes | None, kind: Kind, above: Context | None
    ) -> CollectedSpan:
        span = self._tracer.start_span(
            name, context=above, kind=KINDS[kind], attributes=attributes, record_exception=False
        )
        return CollectedSpan(span)

    def brought(self, turn_id: str) -> None:
        # Also of a call that is not recorded: then its turn is not, either.
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            self._brought[turn_id] = context
            if len(self._brought) > MAX_BROUGHT:
                self._brought.popitem(last=False)

    @property
    def is_within(self) -> bool:
        return trace.get_current_span().is_recording()

    def ids(self) -> Mapping[str, str]:
        span = trace.get_current_span()
        # What has ended records no more. A task may outlive the call that began it, and be
        # everybody's.
        if not span.is_recording():
            return {}
        return {"trace_id": f"{span.get_span_context().trace_id:032x}"}

    async def close(self) -> None:
        # In a thread that the process does not wait for: the SDK would wait for half a minute.
        sending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        sending.start()
        end = time.monotonic() + CLOSE_SECONDS
        # A thread tells no event loop that it has ended.
        while sending.is_alive() and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
