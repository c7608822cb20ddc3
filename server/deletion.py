"""Deleting conversations so that nothing is left, also when a server dies in the middle of it."""

from __future__ import annotations

import logging
from typing import Protocol

from memory.errors import Unavailable
from server.feed.feeds import Feeds
from server.signals import Signals
from server.tasks import again_and_again
from server.turns.answering import Answering
from stores.contract import ConversationStore

log = logging.getLogger(__name__)

SWEEP_SECONDS = 30.0
SWEEP_LIMIT = 100


class Memory(Protocol):
    async def forget(self, conversation_id: str) -> None: ...


class Deletion:
    """The tombstone first: from then on nothing can be added or loaded. The rest is tidying up."""

    def __init__(
        self,
        *,
        conversations: ConversationStore,
        memory: Memory,
        feeds: Feeds,
        answering: Answering,
        signals: Signals,
    ) -> None:
        self._conversations = conversations
        self._memory = memory
        self._feeds = feeds
        self._answering = answering
        self._signals = signals

    async def delete(self, conversation_id: str, user_id: str) -> None:
        """Raises ``NotFound``; also when it was deleted before."""
        await self.entomb(conversation_id, user_id)
        await self.tidy(conversation_id)

    async def entomb(self, conversation_id: str, user_id: str) -> None:
        """All of ``delete`` but ``tidy``, which the sweep does where nobody else does."""
        await self._conversations.delete(conversation_id, user_id)
        self._answering.forget(conversation_id)
        self._feeds.forget(conversation_id)
        self._signals.send("deleted", conversation_id=conversation_id)

    async def tidy(self, conversation_id: str) -> None:
        """Leave nothing of an entombed conversation; later, where the store is away."""
        try:
            await self._tidy(conversation_id)
        except Unavailable:
            log.warning(
                "A deleted conversation is tidied up later.",
                extra={"action": "purge_waits", "conversation_id": conversation_id},
            )

    async def _tidy(self, conversation_id: str) -> None:
        await self._memory.forget(conversation_id)
        await self._feeds.erase(conversation_id)
        await self._conversations.purge(conversation_id)

    async def sweep_forever(self) -> None:
        """Finish what an earlier server, or an absent store, left half done."""
        await again_and_again(self.sweep, lambda: SWEEP_SECONDS)

    async def sweep(self) -> None:
        try:
            while True:
                some = await self._conversations.unpurged(SWEEP_LIMIT)
                for conversation_id in some:
                    await self._tidy(conversation_id)
                if len(some) < SWEEP_LIMIT:
                    return
        except Unavailable:
            log.debug("Tidying up waits for the store.")
