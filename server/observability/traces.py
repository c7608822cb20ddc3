"""Traces: what a call led to, on its way through turn, provider, memory and stores.

Off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set, and then free: OpenTelemetry is not even loaded.
A span has names, ids and numbers, never what somebody said.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from agent import tracing
from agent.tracing import NO_SPAN, Attributes, Kind, Span
from memory.records import Turn

_NOTHING = nullcontext(NO_SPAN)


class Traces(tracing.Traces):
    """These are there where nobody wants any: they cost nothing. ``otel.py`` has the others."""

    on = False

    def span(
        self, name: str, attributes: Attributes | None = None, kind: Kind = "internal"
    ) -> AbstractContextManager[Span]:
        """Everything inside the ``with`` is a part of it, also in tasks that begin there."""
        return _NOTHING

    def turn(self, turn: Turn) -> AbstractContextManager[Span]:
        """One attempt at a turn: a part of the call that brought it, where that was a call to this
        server, whoever happens to begin it."""
        return _NOTHING

    def brought(self, turn_id: str) -> None:
        """What is going on here has brought this turn."""

    @property
    def is_within(self) -> bool:
        """Whether something is going on here that is traced."""
        return False

    def ids(self) -> Mapping[str, str]:
        """For a log line: which trace it belongs to."""
        return {}

    async def close(self) -> None:
        """Send what there still is, for a moment at the most."""
