"""Finding what was said before: by words, and by meaning where there is a model for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from memory.records import Hit, Spot


class MessageSearch(Protocol):
    """What is asked of the permanent store; ``stores.search.SearchStore`` answers to it."""

    async def search(
        self,
        user_id: str,
        query: str,
        *,
        conversation_id: str | None = None,
        near: Sequence[Spot] = (),
        limit: int = 20,
        beside: bool = False,
    ) -> list[Hit]: ...


class Meaning(Protocol):
    """What an embedding model adds."""

    async def near(self, user_id: str, query: str, conversation_id: str | None) -> list[Spot]:
        """Nearest first. Raises nothing: where the model can't be had there is nothing near, and
        what is looked for is found by its words."""
        ...

    def turn_ended(self, conversation_id: str, user_id: str) -> None:
        """Have vectors made of what has none yet. Returns at once."""
        ...

    async def close(self) -> None: ...


class Finder:
    """A search for whoever looks for something: the calls, the prompt, the tools."""

    def __init__(self, store: MessageSearch, meaning: Meaning | None = None) -> None:
        self._store = store
        self._meaning = meaning

    async def find(
        self,
        user_id: str,
        query: str,
        *,
        conversation_id: str | None = None,
        limit: int = 20,
        beside: bool = False,
    ) -> list[Hit]:
        """See ``MessageSearch.search``. Raises ``Unavailable``."""
        near: list[Spot] = []
        if self._meaning is not None and query.strip():
            near = await self._meaning.near(user_id, query, conversation_id)
        return await self._store.search(
            user_id,
            query,
            conversation_id=conversation_id,
            near=near,
            limit=limit,
            beside=beside,
        )

    def turn_ended(self, conversation_id: str, user_id: str) -> None:
        if self._meaning is not None:
            self._meaning.turn_ended(conversation_id, user_id)

    async def close(self) -> None:
        if self._meaning is not None:
            await self._meaning.close()
