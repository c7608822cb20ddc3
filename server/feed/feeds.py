"""Every conversation's feed in this process: opened, followed, published to, and let go.

Race: an event is published while a reader is being given the past. Closed by order: the moment is
fixed and the reader put on the feed in one step without an await; what comes later is held back for
it until its verdict is out. Race: a message is in the store and not yet announced. The log knows
what was announced; a snapshot leaves out what will follow as an event.

Other servers write to the same conversations. A log that lacks what they did is replaced by a new
one, and those who follow it are told by ``conversation:snapshot``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from memory.errors import NotFound, Unavailable
from memory.records import Conversation, Position, Transcript, Turn
from server.connections import Connection, Deliver
from server.feed.following import Feed, Opening, shown
from server.feed.log import Event, Log
from server.locks import KeyedLocks

# Of the logs that nobody follows at the moment, the latest are kept, up to these.
MAX_IDLE_LOGS = 10_000
MAX_IDLE_CHARS = 64_000_000

# A log is begun anew from what the store says at one moment; if it grew meanwhile, once more.
MAX_RENEWALS = 20


class Checkpoints(Protocol):
    """What a new log asks of the permanent store."""

    async def load(self, conversation_id: str, max_messages: int) -> Transcript: ...

    @property
    def turns(self) -> OpenTurns: ...


class OpenTurns(Protocol):
    async def open_turns(self, conversation_id: str) -> list[Turn]: ...


class Memory(Protocol):
    """How a snapshot gets a conversation's latest messages."""

    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript: ...


class Feeds:
    """The feeds that somebody here follows, followed a moment ago, or is answered on."""

    def __init__(self, deliver: Deliver, store: Checkpoints, memory: Memory) -> None:
        self._deliver = deliver
        self._store = store
        self._memory = memory
        self._feeds: dict[str, Feed] = {}
        self._beginning = KeyedLocks()
        self.announcing = KeyedLocks()
        """Held by conversation while this server stores and then announces something."""

    async def open(
        self, connection: Connection, conversation: Conversation, after: str | None
    ) -> Opening:
        """Put a connection on the feed: replayed from ``after`` where that is provably whole.

        The log reaches at least as far as ``conversation`` says, wherever it was written.
        """
        feed = await self._caught_up(conversation)
        # From here to the reader's place on the feed there is no await: this is the moment.
        missed = feed.log.since(after)
        moment = feed.log.moment()
        release, withdraw = self._join(connection, feed, missed or [])
        if missed is not None:
            return Opening("replayed", moment.cursor, None, None, release, withdraw)
        try:
            transcript = await self._memory.read(conversation.id, at_least=moment.position)
        except BaseException:
            withdraw()
            raise
        messages = shown(conversation.id, moment, transcript)
        return Opening("snapshot", moment.cursor, messages, moment.turns, release, withdraw)

    def _join(
        self, connection: Connection, feed: Feed, missed: list[Event]
    ) -> tuple[Callable[[], None], Callable[[], None]]:
        if connection.closed:
            return _nothing, _nothing
        conversation_id = feed.log.conversation_id
        before = feed.readers.get(connection.sid)
        waiting = before.held if before else []
        given = len(missed)
        reader = feed.hold(connection, missed)
        connection.following.add(conversation_id)

        def withdraw() -> None:
            if before is None:
                self.leave(connection, conversation_id)
            else:  # it was on the feed, and stays there without a gap
                reader.held = waiting + reader.held[given:]
                feed.release(reader)

        return lambda: feed.release(reader), withdraw

    async def _caught_up(self, conversation: Conversation) -> Feed:
        """The feed, anew where its log lacks what another server wrote."""
        feed = await self._feed(conversation.id)
        if _reaches(feed.log.position, conversation.position):
            return feed
        # What this server stores is announced in a moment. Whatever else is missing never will be.
        async with self.announcing.holding(conversation.id):
            if not _reaches(feed.log.position, conversation.position):
                await self.renew(conversation.id)
        return await self._feed(conversation.id)

    def follows(self, connection: Connection, conversation_id: str) -> bool:
        return conversation_id in connection.following

    def leave(self, connection: Connection, conversation_id: str) -> None:
        connection.following.discard(conversation_id)
        feed = self._feeds.get(conversation_id)
        if feed is not None and feed.readers.pop(connection.sid, None) is not None:
            feed.idle_since = time.monotonic()

    def forget(self, conversation_id: str) -> None:
        """The conversation is deleted: nobody follows it any more, and its log goes."""
        feed = self._feeds.pop(conversation_id, None)
        for reader in list(feed.readers.values()) if feed else ():
            reader.connection.following.discard(conversation_id)

    async def created(self, turn: Turn) -> None:
        """Announce a turn's question. Turns of a conversation are announced in their order; where
        one before it never was, because another server took it, by a snapshot."""
        await self._publish(turn, lambda log: log.created(turn))

    async def queued(self, turn: Turn) -> None:
        await self._publish(turn, lambda log: log.queued(turn))

    async def started(self, turn: Turn) -> None:
        """A waiting turn may start before its acceptance has announced it: then it is now."""
        await self.created(turn)
        await self._publish(turn, lambda log: log.started(turn))

    async def ended(self, turn: Turn) -> None:
        await self._publish(turn, lambda log: log.ended(turn))

    def delta(self, turn: Turn, index: int, text: str) -> None:
        """The next piece of a started turn's answer. Does not wait: this is the hot path."""
        feed = self._feeds.get(turn.conversation_id)
        if feed is not None:
            feed.publish(feed.log.delta(turn, index, text))

    async def _publish(self, turn: Turn, append: Callable[[Log], Event | None]) -> None:
        try:
            feed = await self._feed(turn.conversation_id)
            if feed.log.lacks(turn):
                await self.renew(turn.conversation_id)
        except NotFound:
            return  # deleted meanwhile: there is nobody to tell
        feed.publish(append(feed.log))

    async def _feed(self, conversation_id: str) -> Feed:
        feed = self._feeds.get(conversation_id)
        if feed is not None:
            return feed
        async with self._beginning.holding(conversation_id):
            feed = self._feeds.get(conversation_id)
            if feed is None:
                log = await self._begun(conversation_id)
                feed = self._feeds[conversation_id] = Feed(log, self._deliver)
            return feed

    async def _begun(self, conversation_id: str) -> Log:
        # The position first: a turn that comes in between is then announced later, not taken for
        # announced.
        position = (await self._store.load(conversation_id, 1)).position
        return Log(conversation_id, position, await self._store.turns.open_turns(conversation_id))

    async def renew(self, conversation_id: str) -> None:
        """Begin the log anew from the store, and tell all who follow it.

        Raises ``Unavailable``, and ``NotFound`` when the conversation has been deleted; there is
        no feed then.
        """
        try:
            async with self._beginning.holding(conversation_id):
                for _ in range(MAX_RENEWALS):
                    if await self._renewed(conversation_id):
                        return
        except NotFound:
            self.forget(conversation_id)
            raise
        raise Unavailable("The conversation changes too quickly to be shown.")

    async def _renewed(self, conversation_id: str) -> bool:
        feed = self._feeds.get(conversation_id)
        if feed is None:
            return True
        log, turning = feed.log, feed.log.turning
        fresh = await self._begun(conversation_id)
        transcript = await self._memory.read(conversation_id, at_least=fresh.position)
        if (feed.log, log.turning) != (log, turning):
            return False
        fresh.take_over(log)
        feed.renew(fresh, transcript)
        return True

    def followed_elsewhere(self, is_ours: Callable[[str], bool]) -> list[str]:
        """The conversations that somebody here follows and another server answers."""
        return [
            conversation_id
            for conversation_id, feed in self._feeds.items()
            if feed.readers and not all(is_ours(turn_id) for turn_id in feed.log.live)
        ]

    async def catch_up(self, conversation_id: str, is_ours: Callable[[str], bool]) -> None:
        """Show what other servers did about the open turns of a conversation, if anything.

        Raises ``Unavailable``.
        """
        feed = self._feeds.get(conversation_id)
        if feed is None:
            return
        shown = {turn_id: live for turn_id, live in feed.log.live.items() if not is_ours(turn_id)}
        stored = {turn.id: turn for turn in await self._store.turns.open_turns(conversation_id)}
        for turn_id, live in shown.items():
            if feed.log.live.get(turn_id) is live and live.differs(stored.get(turn_id)):
                with suppress(NotFound):
                    await self.renew(conversation_id)
                return

    def let_go(self, idle_since: float, is_ours: Callable[[str], bool]) -> None:
        """Drop the logs that nobody follows, and on which nothing is answered here."""
        idle = [
            feed
            for feed in self._feeds.values()
            if not feed.readers and not any(is_ours(turn_id) for turn_id in feed.log.live)
        ]
        idle.sort(key=lambda feed: feed.idle_since, reverse=True)
        chars = 0
        for place, feed in enumerate(idle):
            chars += feed.log.chars
            is_surplus = place >= MAX_IDLE_LOGS or chars > MAX_IDLE_CHARS
            if is_surplus or feed.idle_since < idle_since:
                del self._feeds[feed.log.conversation_id]


def _reaches(position: Position, known: Position) -> bool:
    return position.turn >= known.turn and position.answers >= known.answers


def _nothing() -> None:
    """The connection has ended: there is nobody to tell."""
