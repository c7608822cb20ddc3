"""A span for each request to a model, and each use of a tool, inside an agent."""

from __future__ import annotations

import time
from uuid import UUID

from agent.own.events import Event
from agent.tracing import Span, Traces

COUNTS = ("input_tokens", "output_tokens")


class Spans:
    def __init__(self, traces: Traces) -> None:
        self._traces = traces
        self._open: dict[UUID, Span] = {}
        self._silent: dict[UUID, float] = {}
        """Models that have said nothing yet, and since when (monotonic)."""

    def hear(self, event: Event) -> None:
        match event.kind:
            case "model":
                about = {"gen_ai.operation.name": "chat", "gen_ai.request.model": event.name}
                self._open[event.run_id] = self._traces.begin("chat", about)
                self._silent[event.run_id] = time.monotonic()
            case "tool":
                about = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": event.name}
                self._open[event.run_id] = self._traces.begin(
                    f"execute_tool {event.name}", about, kind="internal"
                )
            case "token":
                began = self._silent.pop(event.run_id, None)
                if began is not None:
                    waited = time.monotonic() - began
                    self._open[event.run_id].note({"mnemosio.first_token_seconds": waited})
            case "said" | "tool_ended":
                self._end(event)
            case "model_failed" | "tool_failed":
                self._end(event, type(event.data).__name__)

    def close(self) -> None:
        """What was broken off ends here."""
        for span in self._open.values():
            span.failed("broken_off")
            span.end()
        self._open.clear()

    def _end(self, event: Event, failed: str | None = None) -> None:
        self._silent.pop(event.run_id, None)
        span = self._open.pop(event.run_id, None)
        if span is None:
            return
        usage = getattr(event.data, "usage_metadata", None) or {}
        span.note({f"gen_ai.usage.{kind}": usage[kind] for kind in COUNTS if kind in usage})
        if failed is not None:
            span.failed(failed)
        span.end()
