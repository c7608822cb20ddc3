"""Every conversation's feed in this process: opened, followed, published to, and let go.

Race: an event is published while a reader is being given the past. Closed by order: the moment is
fixed and the reader put on the feed in one step without an await; what comes later is held back for
it until its verdict is out. Race: a message is in the store and not yet announced. The log knows
what was announced; a snapshot leaves out what will follow as an event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from memory.errors import NotFound
from memory.records import Position, Transcript, Turn
from server import protocol
from server.connections import Connection, Deliver
from server.feed.log import Event, Log
from server.locks import KeyedLocks

# A log that nobody follows is kept this long, for those who come back with a cursor.
IDLE_SECONDS = 300.0
MAX_IDLE_LOGS = 10_000
SWEEP_SECONDS = 15.0


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


class Opening(msgspec.Struct, frozen=True):
    """A reader's verdict. ``release`` goes after it: what was missed, then what is live."""

    recovery: Literal["replayed", "snapshot"]
    cursor: str
    messages: list[dict[str, Any]] | None
    turns: list[dict[str, Any]] | None
    release: Callable[[], None]

    def shape(self) -> dict[str, Any]:
        shape: dict[str, Any] = {"cursor": self.cursor}
        if self.recovery == "snapshot":
            shape.update(messages=self.messages, turns=self.turns)
        return shape


class Reader:
    """A connection on a feed. While it is held, what is published waits here."""

    __slots__ = ("connection", "held")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.held: list[Event] | None = []


class Feed:
    """One conversation's log and its readers."""

    def __init__(self, log: Log, deliver: Deliver) -> None:
        self.log = log
        self.readers: dict[str, Reader] = {}
        self.idle_since = time.monotonic()
        self._deliver = deliver

    def publish(self, event: Event | None) -> None:
        if event is None:
            return
        _, name, payload = event
        live = []
        for sid, reader in self.readers.items():
            if reader.held is None:
                live.append(sid)
            else:
                reader.held.append(event)
        self._deliver(name, payload, live)
        self.idle_since = time.monotonic()

    def release(self, reader: Reader, missed: list[Event]) -> None:
        sid = reader.connection.sid
        if self.readers.get(sid) is not reader or reader.held is None:
            return
        for _, name, payload in missed + reader.held:
            self._deliver(name, payload, [sid])
        reader.held = None


class Feeds:
    """The feeds that somebody here follows, followed a moment ago, or is answered on."""

    def __init__(self, deliver: Deliver, store: Checkpoints, memory: Memory) -> None:
        self._deliver = deliver
        self._store = store
        self._memory = memory
        self._feeds: dict[str, Feed] = {}
        self._beginning = KeyedLocks()

    async def open(
        self, connection: Connection, conversation_id: str, after: str | None
    ) -> Opening:
        """Put a connection on the feed: replayed from ``after`` where that is provably whole."""
        feed = await self._feed(conversation_id)
        # From here to the reader's place on the feed there is no await: this is the moment.
        missed = feed.log.since(after)
        moment = feed.log.moment()
        before = feed.readers.get(connection.sid)
        reader = Reader(connection)
        if not connection.closed:
            feed.readers[connection.sid] = reader
            connection.following.add(conversation_id)
        if missed is not None:
            return Opening(
                "replayed", moment.cursor, None, None, lambda: feed.release(reader, missed)
            )
        try:
            transcript = await self._memory.read(conversation_id, at_least=moment.position)
        except BaseException:
            if before is None:
                self.leave(connection, conversation_id)
            else:
                feed.release(reader, [])  # it was on the feed, and stays there without a gap
            raise
        messages = [
            protocol.message_shape(conversation_id, message)
            for message in transcript.messages
            if moment.holds(message)
        ]
        return Opening(
            "snapshot", moment.cursor, messages, moment.turns, lambda: feed.release(reader, [])
        )

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
        """Announce a turn's question. Turns of a conversation are announced in their order."""
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
                # The position first: a turn that comes in between is then announced later, not
                # taken for announced.
                position = (await self._store.load(conversation_id, 1)).position
                open_turns = await self._store.turns.open_turns(conversation_id)
                log = Log(conversation_id, position, open_turns)
                feed = self._feeds[conversation_id] = Feed(log, self._deliver)
            return feed

    async def run(self) -> None:
        """Let go of logs that nobody needs any more, for as long as the server runs."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.let_go(time.monotonic() - IDLE_SECONDS)

    def let_go(self, idle_since: float) -> None:
        idle = [
            (feed.idle_since, conversation_id)
            for conversation_id, feed in self._feeds.items()
            if not feed.readers and not feed.log.live
        ]
        idle.sort()
        surplus = max(0, len(idle) - MAX_IDLE_LOGS)
        for place, (since, conversation_id) in enumerate(idle):
            if place < surplus or since < idle_since:
                del self._feeds[conversation_id]
