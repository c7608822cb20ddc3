"""Every conversation's feed in this process: followed, written to, and let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

from memory.errors import NotFound, Unavailable
from memory.locks import KeyedLocks
from memory.records import Conversation, Message, Position, ToolUse, Turn
from redislink.link import Link, RedisAway
from redislink.session import State
from server.edge.connections import Connection, Deliver
from server.feed import events
from server.feed.checkpoints import Checkpoints, Said, Store, nothing_said
from server.feed.events import Ending
from server.feed.feed import Feed, Memory
from server.feed.following import Opening
from server.feed.line import Holder, Write
from server.feed.opening import Openings
from server.feed.shared import SharedLogs
from server.tasks import Tasks

# Of local logs that nobody follows at the moment, the latest are kept, up to these.
MAX_IDLE_LOGS = 10_000
MAX_IDLE_SIZE = 64_000_000

# Conversations whose log in Redis lacks what was told here. Beyond it, every log goes.
MAX_DIVERGED = 100_000

# How long an end waits for its place in the log; then the sweep tells it.
END_SECONDS = 5.0

# A taken event that is not heard after this long is read instead.
UNHEARD_SECONDS = 0.5

# All that an answer has said goes into the log with every so many of its deltas, so that a snapshot
# never needs more than these to tell it.
SAID_EVERY = 256
# And with so many characters: a quarter of what a log keeps at the least, at four bytes each.
SAID_EVERY_CHARS = 125_000


class NotTold(Unavailable):
    """The end of a turn could not be told yet; the store is as it may be."""


class Feeds:
    """The feeds that somebody here follows, followed a moment ago, or is answered on."""

    def __init__(
        self,
        deliver: Deliver,
        store: Store,
        memory: Memory,
        *,
        redis_url: str | None = None,
        server: str = "",
        said: Said = nothing_said,
    ) -> None:
        """Without ``redis_url`` every log is this process's own. ``server`` is its name."""
        self._deliver = deliver
        self._memory = memory
        self._checkpoints = Checkpoints(store, said)
        self._feeds: dict[str, Feed] = {}
        self._lively: set[Feed] = set()
        """Those that something may be unheard of; of ten thousand that are followed, a few."""
        self._diverged: set[str] = set()
        self._all_diverged = False
        self._tasks = Tasks()
        self._redis_url, self._server = redis_url, server
        self.shared: SharedLogs | None = None
        self.announcing = KeyedLocks()
        """Held by conversation while this server stores and then announces something."""
        self._openings = Openings(
            self._ready, memory, self.announcing, is_deaf=lambda: self.state == "deaf"
        )

    async def connect(self) -> None:
        """Share the logs through Redis, if there is one and as soon as it is there."""
        if self._redis_url is None:
            return
        self.shared = SharedLogs(
            self._redis_url,
            server=self._server,
            repairs=self,
            look=self.look,
            on_change=self._redis_changed,
        )
        await self.shared.connect()

    async def close(self) -> None:
        await self._tasks.close()
        if self.shared is not None:
            await self.shared.close()

    @property
    def state(self) -> Literal["shared", "local", "deaf"]:
        if self.shared is None or not self.shared.connected:
            return "local"
        return "deaf" if self.shared.deaf else "shared"

    # Following

    async def open(
        self, connection: Connection, conversation: Conversation, after: str | None
    ) -> Opening:
        """Put a connection on the feed: replayed from ``after`` where that is provably whole.

        The log reaches at least as far as ``conversation`` says, wherever it was written. Raises
        ``Unavailable`` and ``NotFound``.
        """
        return await self._openings.open(connection, conversation, after)

    async def _ready(self, conversation_id: str) -> Feed:
        while True:
            feed = self._feed(conversation_id)
            await feed.ready()
            if self._feeds.get(conversation_id) is feed:
                return feed

    def follows(self, connection: Connection, conversation_id: str) -> bool:
        return conversation_id in connection.following

    def leave(self, connection: Connection, conversation_id: str) -> None:
        connection.following.discard(conversation_id)
        feed = self._feeds.get(conversation_id)
        if feed is not None:
            feed.readers.leave(connection.sid)

    def forget(self, conversation_id: str) -> None:
        """The conversation is deleted: nobody follows it any more, and its log goes."""
        feed = self._feeds.pop(conversation_id, None)
        if feed is None:
            return
        feed.close()
        for reader in feed.readers:
            reader.connection.following.discard(conversation_id)

    async def erase(self, conversation_id: str) -> None:
        """``forget``, and nothing of it stays in Redis either: at once, or when Redis is back."""
        self.forget(conversation_id)
        if self.shared is None:
            return
        try:
            await self.shared.erase(conversation_id)
        except RedisAway:
            self._note_diverged(conversation_id)

    async def heard(self, turn: Turn) -> str:
        """What an attempt has said that is over; "" where nobody can tell."""
        try:
            feed = await self._ready(turn.conversation_id)
        except (NotFound, Unavailable):
            return ""
        live = feed.log.live.get(turn.id)
        return "".join(live.text) if live is not None else ""

    async def told_end(self, turn: Turn) -> Ending | None:
        """How an earlier attempt of a turn has ended, where that was told; None where not.

        It may be kept in the spool of a server that is gone: then it has been told, and not stored.
        """
        try:
            feed = await self._ready(turn.conversation_id)
        except (NotFound, Unavailable):
            return None
        return await feed.end_of(turn.id)

    # What is told. Each is harmless when repeated, and none but ``ended`` waits.

    def created(self, turn: Turn) -> None:
        """Announce a turn's question. What takes another's place is announced by ``rewritten``."""
        if not turn.rewrites:
            self._write(turn, events.created(turn))

    def rewritten(self, turn: Turn, superseded: Sequence[Turn], *, answers: int) -> None:
        """Announce an edit or a regenerate, and what it has put aside; ``answers`` are left."""
        self._write(turn, events.removed(turn, superseded, answers=answers))
        if turn.question.key is None:
            self._write(turn, events.created(turn))

    def superseded(self, turn: Turn) -> None:
        """A turn that was still open when another took its place: its readers are told its end."""
        self._write(turn, events.ended(turn))

    def stored(self, turn: Turn, message: Message) -> None:
        """A message that was spooled is in the permanent store now."""
        self._write(turn, events.stored(turn, message))

    def queued(self, turn: Turn) -> None:
        self._write(turn, events.queued(turn))

    def started(self, turn: Turn, holder: Holder | None = None) -> None:
        """A waiting turn may start before its acceptance has announced it: then it is now."""
        self.created(turn)
        self._write(turn, events.started(turn), holder)

    def delta(
        self,
        turn: Turn,
        index: int,
        text: str,
        holder: Holder | None = None,
        said: str = "",
        told: Callable[[], None] | None = None,
        used: str = "",
    ) -> None:
        """The next piece of a started turn's answer; ``said`` is all of it by now, where the index
        or the size says so (``SAID_EVERY``), and ``used`` its tools, as JSON. This is the hot path.
        ``told`` is called once readers here have been told of it, unless that never comes to be."""
        self._write(turn, events.delta(turn, index, text), holder, said, told, used)

    def tool(
        self,
        turn: Turn,
        index: int,
        use: ToolUse,
        holder: Holder | None = None,
        said: str = "",
        used: str = "",
    ) -> None:
        """A started turn's use of a tool has begun or ended; see ``delta``."""
        self._write(turn, events.tool(turn, index, use), holder, said, used=used)

    async def ended(self, turn: Turn) -> None:
        """Returns when it is in the log. Raises ``NotTold``: then it is told later."""
        write = Write(events.ended(turn))
        try:
            async with asyncio.timeout(END_SECONDS):
                feed = self._feed(turn.conversation_id)
                self._lively.add(feed)
                await feed.written(write)
        except TimeoutError:
            raise NotTold from None

    def _write(
        self,
        turn: Turn,
        event: events.Event,
        holder: Holder | None = None,
        said: str = "",
        told: Callable[[], None] | None = None,
        used: str = "",
    ) -> None:
        feed = self._feed(turn.conversation_id)
        self._lively.add(feed)
        feed.write(Write(event, holder, said, told, used))

    async def make_up(self, conversation_id: str, known: Position) -> None:
        """See ``Feed.make_up``."""
        feed = self._feeds.get(conversation_id)
        if feed is not None and feed.has_log:
            await feed.make_up(known)

    async def renew(self, conversation_id: str) -> None:
        """Begin the log anew from the store, and tell all who follow it: on other servers too,
        also where nobody does here.

        Raises ``Unavailable``, and ``NotFound`` when the conversation has been deleted; there is
        no feed then.
        """
        feed = await self._ready(conversation_id)
        await feed.renew()

    # Other servers

    def followed(self) -> list[str]:
        """The conversations that somebody here follows."""
        return [feed.id for feed in self._feeds.values() if feed.readers]

    def lacks(self, conversation_id: str, known: Position) -> bool:
        """Whether the store knows of more than was told here."""
        feed = self._feeds.get(conversation_id)
        return feed is not None and feed.has_log and not feed.reaches(known)

    def followed_elsewhere(self, is_ours: Callable[[str], bool]) -> list[str]:
        """Those that somebody here follows by a local log, and another server answers."""
        return [
            feed.id
            for feed in self._feeds.values()
            if feed.readers
            and feed.has_log
            and self._is_alone(feed)
            and not all(map(is_ours, feed.log.live))
        ]

    async def catch_up(self, conversation_id: str, is_ours: Callable[[str], bool]) -> None:
        """Show what other servers did about the open turns of a conversation, if anything.

        Raises ``Unavailable``.
        """
        feed = self._feeds.get(conversation_id)
        if feed is None or not self._is_alone(feed):
            return
        shown = {turn_id: live for turn_id, live in feed.log.live.items() if not is_ours(turn_id)}
        open_turns = await self._checkpoints.turns.open_turns(conversation_id)
        if self.announcing.is_held(conversation_id):
            return  # what differs may be what this server is just about to tell
        stored = {turn.id: turn for turn in open_turns}
        for turn_id, live in shown.items():
            if feed.log.live.get(turn_id) is live and live.differs(stored.get(turn_id)):
                try:
                    await feed.renew()
                except NotFound:
                    self.forget(conversation_id)
                return

    def _is_alone(self, feed: Feed) -> bool:
        """Whether nothing is heard of what other servers tell on it."""
        return feed.is_local or self.state == "local"

    async def look(self) -> None:
        """Read what was not heard: something was published while this server did not listen."""
        if self.shared is None or not self.shared.connected:
            return  # it looks when Redis is back
        for feed in list(self._feeds.values()):
            if feed.has_log and not feed.is_local:
                feed.mend("refill")

    def look_for_unheard(self) -> None:
        for feed in list(self._lively):
            if feed.is_unheard_for(UNHEARD_SECONDS):
                feed.mend("refill")
            elif feed.is_quiet or self._feeds.get(feed.id) is not feed:
                self._lively.discard(feed)

    # Redis comes and goes

    def _redis_changed(self, state: State) -> None:
        for feed in list(self._feeds.values()):
            if state == "local":
                feed.lose_redis()
            elif feed.has_log and not feed.is_local:
                feed.mend("refill")

    @property
    def wanting(self) -> bool:
        return bool(self._diverged) or self._all_diverged

    async def repair(self, link: Link) -> None:
        """What was told here while Redis was away is missing in its logs: they begin anew. Raises
        ``RedisAway``."""
        if self._all_diverged:
            await SharedLogs.drop_all(link)
            self._all_diverged = False
        for conversation_id in list(self._diverged):
            await SharedLogs.drop(link, conversation_id)
            self._diverged.discard(conversation_id)
        for feed in list(self._feeds.values()):
            if feed.is_local:
                feed.mend("rejoin")

    # Their life

    def let_go(
        self, idle_since: float, shared_idle_since: float, is_ours: Callable[[str], bool]
    ) -> None:
        """Drop the logs that nobody follows, and on which nothing is answered here: what is shared
        is kept in Redis, what is local only here, and so for longer."""
        idle = [
            feed
            for feed in self._feeds.values()
            if not feed.readers
            and not feed.is_busy
            and not (feed.has_log and any(map(is_ours, feed.log.live)))
        ]
        idle.sort(key=lambda feed: feed.readers.idle_since, reverse=True)
        size = 0
        for place, feed in enumerate(idle):
            size += feed.log.size if feed.has_log else 0
            is_surplus = place >= MAX_IDLE_LOGS or size > MAX_IDLE_SIZE
            since = idle_since if feed.is_local else shared_idle_since
            if is_surplus or feed.readers.idle_since < since:
                self._drop(feed)

    def _drop(self, feed: Feed) -> None:
        del self._feeds[feed.id]
        feed.close()
        if feed.has_diverged:
            self._note_diverged(feed.id)

    def _note_diverged(self, conversation_id: str) -> None:
        if self.shared is None:
            return
        if len(self._diverged) >= MAX_DIVERGED:
            self._all_diverged = True
            self._diverged.clear()
        self._diverged.add(conversation_id)
        self.shared.repair_soon()

    def _feed(self, conversation_id: str) -> Feed:
        feed = self._feeds.get(conversation_id)
        if feed is None:
            feed = self._feeds[conversation_id] = Feed(
                conversation_id,
                checkpoints=self._checkpoints,
                memory=self._memory,
                shared=self.shared,
                deliver=self._deliver,
                tasks=self._tasks,
                forget=self.forget,
            )
            self._lively.add(feed)
        return feed
