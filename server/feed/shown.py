"""A conversation as clients are shown it: memory's, and what of it is only in a spool."""

from __future__ import annotations

from typing import Protocol

from memory.records import Position, Transcript


class Store(Protocol):
    async def marked(self, conversation_id: str, transcript: Transcript) -> Transcript: ...


class Memory(Protocol):
    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript: ...


class Shown:
    """``server.feed.feed.Memory``."""

    def __init__(self, memory: Memory, store: Store) -> None:
        self._memory = memory
        self._store = store

    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript:
        transcript = await self._memory.read(conversation_id, at_least=at_least)
        return await self._store.marked(conversation_id, transcript)
