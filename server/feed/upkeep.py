"""What feeds need from time to time: to see what other servers did, and to be let go."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress

from memory.errors import NotFound, Unavailable
from memory.records import Position
from server.feed.feeds import Feeds
from server.tasks import again_and_again

log = logging.getLogger(__name__)

# A log that nobody follows is kept this long, for those who come back with a cursor; a shared one
# is in Redis all the same.
IDLE_SECONDS = 300.0
SHARED_IDLE_SECONDS = 10.0
SWEEP_SECONDS = 5.0

# How old news of an answer on another server may be while Redis is away. One read a second for each
# such conversation.
LOOK_SECONDS = 1.0

# How often what was told is held against the store, where nothing else would show that something
# was told to nobody: all that is followed in one read. What the next one finds missing still, is.
COMPARE_SECONDS = 3.0
NOWHERE = Position()

UNHEARD_LOOK_SECONDS = 0.25

Positions = Callable[[Collection[str]], Awaitable[Mapping[str, Position]]]


class Upkeep:
    """``is_ours`` tells whether this server answers a turn, or keeps it waiting; ``gone`` is called
    with a conversation that was deleted by another server."""

    def __init__(
        self,
        feeds: Feeds,
        is_ours: Callable[[str], bool],
        positions: Positions,
        gone: Callable[[str], None],
    ) -> None:
        self._feeds = feeds
        self._is_ours = is_ours
        self._positions = positions
        self._gone = gone
        self._lacking: dict[str, Position] = {}
        """Where those were in the store that had not been told so far, at the last look."""

    async def look_elsewhere_forever(self) -> None:
        await again_and_again(self.look_elsewhere, lambda: LOOK_SECONDS * random.uniform(0.8, 1.2))

    async def look_elsewhere(self) -> None:
        """Those who follow a conversation here see how it goes on when another server answers."""
        try:
            for conversation_id in self._feeds.followed_elsewhere(self._is_ours):
                await self._feeds.catch_up(conversation_id, self._is_ours)
        except Unavailable:
            log.debug("What other servers do can't be seen: the store is away.")

    async def compare_forever(self) -> None:
        await again_and_again(
            self.compare,
            lambda: (
                random.uniform(0.8, 1.2)
                * (COMPARE_SECONDS if self._feeds.state == "shared" else LOOK_SECONDS)
            ),
        )

    async def compare(self) -> None:
        """Begin logs anew that lack what the store has: it was told to nobody."""
        followed = self._feeds.followed()
        try:
            known = await self._positions(followed) if followed else {}
        except Unavailable:
            log.debug("What was told can't be compared: the store is away.")
            return
        before, self._lacking = self._lacking, {}
        for conversation_id in followed:
            position = known.get(conversation_id)
            if position is None:
                self._gone(conversation_id)
            elif self._feeds.lacks(conversation_id, before.get(conversation_id, NOWHERE)):
                with suppress(NotFound, Unavailable):
                    await self._feeds.make_up(conversation_id, before[conversation_id])
            elif self._feeds.lacks(conversation_id, position):
                self._lacking[conversation_id] = position

    async def look_for_unheard_forever(self) -> None:
        while True:
            await asyncio.sleep(UNHEARD_LOOK_SECONDS)
            self._feeds.look_for_unheard()

    async def let_go_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            self._feeds.let_go(now - IDLE_SECONDS, now - SHARED_IDLE_SECONDS, self._is_ours)
