"""What feeds need from time to time: to see what other servers did, and to be let go."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

from memory.errors import Unavailable
from server.feed.feeds import Feeds
from server.tasks import again_and_again

log = logging.getLogger(__name__)

# A log that nobody follows is kept this long, for those who come back with a cursor.
IDLE_SECONDS = 300.0
SWEEP_SECONDS = 15.0

# How old news of an answer on another server may be. One read a second for each such conversation.
LOOK_SECONDS = 1.0


class Upkeep:
    """``is_ours`` tells whether this server answers a turn, or keeps it waiting."""

    def __init__(self, feeds: Feeds, is_ours: Callable[[str], bool]) -> None:
        self._feeds = feeds
        self._is_ours = is_ours

    async def look_elsewhere_forever(self) -> None:
        await again_and_again(self.look_elsewhere, lambda: LOOK_SECONDS * random.uniform(0.8, 1.2))

    async def look_elsewhere(self) -> None:
        """Those who follow a conversation here see how it goes on when another server answers."""
        try:
            for conversation_id in self._feeds.followed_elsewhere(self._is_ours):
                await self._feeds.catch_up(conversation_id, self._is_ours)
        except Unavailable:
            log.debug("What other servers do can't be seen: the store is away.")

    async def let_go_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._feeds.let_go(time.monotonic() - IDLE_SECONDS, self._is_ours)
