"""Putting a connection on a feed: with what it missed, or with all there is.

Race: an event is told while a reader is being given the past. Closed by order: the moment is fixed
and the reader put on the feed in one step without an await; what comes later is held back for it
until its verdict is out. Race: a message is in the store and not yet announced. The log knows what
was announced; a snapshot leaves out what will follow as an event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from memory.errors import Unavailable
from memory.locks import KeyedLocks
from memory.records import Conversation
from server.edge.connections import Connection
from server.feed.feed import MOMENT_SECONDS, MOST_MOMENTS, Feed, Memory
from server.feed.following import Hold, Opening, shown
from server.feed.log import Moment

# How long an opening waits for what another server has stored and is just announcing.
CATCH_UP_SECONDS = 0.3
CATCH_UP_PAUSE = 0.02


class Openings:
    """``ready`` gives a conversation's feed, with a log; ``announcing`` is held by conversation
    while this server stores and then announces something."""

    def __init__(
        self,
        ready: Callable[[str], Awaitable[Feed]],
        memory: Memory,
        announcing: KeyedLocks,
        *,
        is_deaf: Callable[[], bool],
    ) -> None:
        self._ready = ready
        self._memory = memory
        self._announcing = announcing
        self._is_deaf = is_deaf

    async def open(
        self, connection: Connection, conversation: Conversation, after: str | None
    ) -> Opening:
        """See ``Feeds.open``."""
        feed = await self._caught_up(conversation)
        if feed.is_behind(after) or self._is_deaf():
            await feed.refill()  # another server has told more than was heard here
        # From here to the reader's place on the feed there is no await: this is the moment.
        moment = feed.log.moment()
        hold = self._hold(connection, feed)

        def withdraw() -> None:
            hold.withdraw()
            if connection.sid not in feed.readers:
                connection.following.discard(feed.id)

        try:
            missed = await feed.missed_since(after, moment)
            if missed is not None:
                hold.precede(missed)
                return Opening(
                    "replayed", moment.cursor, moment.position, None, None, hold.release, withdraw
                )
            moment, messages = await self._snapshot(feed, hold)
        except BaseException:
            withdraw()
            raise
        return Opening(
            "snapshot",
            moment.cursor,
            moment.position,
            messages,
            moment.turns,
            hold.release,
            withdraw,
        )

    async def _caught_up(self, conversation: Conversation) -> Feed:
        """The feed, anew where its log lacks what another server has told nobody."""
        feed = await self._ready(conversation.id)
        end = time.monotonic() + CATCH_UP_SECONDS
        while not feed.reaches(conversation.position):
            if time.monotonic() < end:
                await asyncio.sleep(CATCH_UP_PAUSE)
                feed = await self._ready(conversation.id)
                continue
            # What this server has stored is announced in a moment. What else is missing was not
            # heard, or never told.
            async with self._announcing.holding(conversation.id):
                await feed.make_up(conversation.position)
            return await self._ready(conversation.id)
        return feed

    def _hold(self, connection: Connection, feed: Feed) -> Hold:
        if connection.closed:
            raise Unavailable("The connection has ended: there is nobody to tell.")
        connection.following.add(feed.id)
        return feed.readers.hold(connection)

    async def _snapshot(self, feed: Feed, hold: Hold) -> tuple[Moment, list[dict[str, Any]]]:
        """What there is at one moment, for a reader that is held from that moment on.

        The messages are read after the moment is fixed; those that follow as events are left out.
        Raises ``Unavailable`` and ``NotFound``.
        """
        for _ in range(MOST_MOMENTS):
            hold.restart()
            moment = feed.log.moment()
            transcript = await self._memory.read(feed.id, at_least=moment.position)
            if transcript.position.revision == moment.position.revision:
                return moment, shown(feed.id, moment, transcript)
            await asyncio.sleep(MOMENT_SECONDS)
        raise Unavailable("The conversation changes too quickly to be shown.")
