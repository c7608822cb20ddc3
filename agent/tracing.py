"""How the agent's requests to its provider come into a trace, where somebody traces.

These two are what is there where nobody does: they cost nothing, and keep nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Attributes = Mapping[str, str | int | float]
Kind = Literal["internal", "server", "client"]


class Span:
    """One piece of work. Never told what anybody said, nor a secret."""

    __slots__ = ()

    @property
    def headers(self) -> Mapping[str, str]:
        """For a request that belongs to it: W3C's ``traceparent``. Empty where nobody traces."""
        return {}

    def note(self, attributes: Attributes) -> None:
        """More about it, before its end."""

    def failed(self, why: str) -> None:
        """``why`` is a kind of error, not its text."""

    def end(self) -> None: ...


NO_SPAN = Span()


class Traces:
    def begin(self, name: str, attributes: Attributes | None = None, kind: Kind = "client") -> Span:
        """A span that its caller ends; a part of what the caller is itself a part of."""
        return NO_SPAN


NO_TRACES = Traces()
