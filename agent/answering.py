"""What the server asks of an agent: one answer, streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec

from memory.records import Message, Position


class AnswerRequest(msgspec.Struct, frozen=True, kw_only=True):
    conversation_id: str
    user_id: str
    turn_id: str
    question: Message
    position: Position
    """Where the conversation stands with this question: what memory must at least hold for the
    prompt. Later questions may be waiting already; they are no part of this turn's prompt."""


class AnswerChunk(msgspec.Struct, frozen=True, kw_only=True):
    text: str = ""
    usage: dict[str, Any] | None = None
    """Tokens used (LangChain's ``usage_metadata``), where the provider tells; once, at the end."""


class Agent(Protocol):
    def answer(self, request: AnswerRequest) -> AsyncIterator[AnswerChunk]:
        """Stream the answer. Raises ``AnswerFailed`` (what was yielded before it stays said), and
        memory's ``Unavailable`` when the conversation can't be read. Closing the iterator ends the
        provider's stream at once."""
        ...

    def turn_ended(self, conversation_id: str, user_id: str) -> None:
        """A turn's end is in store and memory: whatever the agent does in the background (the
        rolling summary) may start. Returns at once."""
        ...

    @property
    def description(self) -> str:
        """For the start-up lines: which model, and where."""
        ...

    @property
    def state(self) -> str:
        """For ``/readyz``: "ok", or what the last answer failed with. Known from answers alone:
        asking a provider how it is would be paid for."""
        ...

    async def close(self) -> None:
        """Ends background work, and closes the provider's connections."""
        ...
