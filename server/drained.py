"""What follows here from a conversation's return from a spool to the permanent store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from memory.errors import NotFound, Unavailable
from server.feed.feeds import Feeds
from server.tasks import Tasks
from stores.contract import Drained

log = logging.getLogger(__name__)


class Memory(Protocol):
    async def forget(self, conversation_id: str) -> None: ...


class Returns:
    """Memory loads it anew, and those who follow it are told: message by message, or by a snapshot
    where it is not just what they were told before. ``gone`` is called for one that is no more."""

    def __init__(self, memory: Memory, feeds: Feeds, gone: Callable[[str], None]) -> None:
        self._memory = memory
        self._feeds = feeds
        self._gone = gone
        self._tasks = Tasks()

    async def drained(self, drained: Drained) -> None:
        """Its calls wait for this, and so it waits for none of them."""
        conversation_id = drained.conversation_id
        await self._memory.forget(conversation_id)
        if drained.gone:
            self._gone(conversation_id)
            await self._feeds.erase(conversation_id)
        elif drained.as_told:
            for turn, message in drained.stored:
                self._feeds.stored(turn, message)
        else:
            self._tasks.start(self._renew(conversation_id), f"renewal of {conversation_id}")

    async def close(self) -> None:
        await self._tasks.settle(1.0)
        await self._tasks.close()

    async def _renew(self, conversation_id: str) -> None:
        try:
            await self._feeds.renew(conversation_id)
        except NotFound:
            self._gone(conversation_id)
        except Unavailable:
            log.debug("A feed is renewed later: the store is away again.")
