"""What the agent asks of memory. ``memory.RedisConversationMemory`` answers to it."""

from __future__ import annotations

from typing import Protocol

from memory.records import Message, Position, Summary, Transcript


class ConversationMemory(Protocol):
    """Raises memory's ``Unavailable`` where a conversation can't be read truthfully."""

    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript: ...

    async def messages_after(self, conversation_id: str, seq: int, limit: int) -> list[Message]:
        """From the permanent store: up to ``limit`` messages with a greater ``seq``, ascending."""
        ...

    async def save_summary(
        self, conversation_id: str, summary: Summary, *, revision: int
    ) -> bool: ...

    async def claim_summary(self, conversation_id: str) -> bool:
        """True for one claimant at a time, over all servers."""
        ...

    async def release_summary(self, conversation_id: str) -> None: ...
