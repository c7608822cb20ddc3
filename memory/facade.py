"""The conversation memory as everybody uses it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from langchain_core.messages import BaseMessage

from memory import succession
from memory.advice import advice
from memory.alone import Alone
from memory.archive import Archive
from memory.cached import Cached
from memory.changes import Change
from memory.chat_messages import to_langchain, to_record
from memory.claims import Claims
from memory.entries import decode_messages, encode_message
from memory.records import Message, Position, Summary, Transcript
from memory.window import DEFAULT_BYTES
from redislink.link import RedisAway
from redislink.session import Session, State, url_without_password

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_ANY = Position()

DEFAULT_URL = "redis://localhost:6379/0"

CLOSE_SECONDS = 2.0
"""What writes under way are given at ``close``."""


class RedisConversationMemory:
    """Conversations in Redis, with a fallback in this process while Redis is away.

    Nothing here raises because Redis is missing. It opens by itself on first use, in whatever event
    loop that is, and may be used again after ``close`` and in another loop. Writes run to their end
    also when their caller is cancelled.

    With an ``archive`` (the permanent store) Redis is its cache: ``read`` and ``remember``. Without
    one Redis is the only copy, and is written by ``add_message``, ``register_turn`` and
    ``set_summary``, which raise ``RuntimeError`` where there is an archive: a message that only the
    cache has would be lost.
    """

    def __init__(
        self,
        max_messages_per_conversation: int = 50,
        redis_url: str | None = None,
        ttl_hours: float = 24,
        *,
        archive: Archive | None = None,
        on_change: Callable[[State], None] | None = None,
        window_bytes: int = DEFAULT_BYTES,
    ) -> None:
        """Without a ``redis_url`` it is the environment's ``REDIS_URL``, read on first use.

        ``on_change`` is told of each change of ``state`` after the first attempt to connect.
        ``window_bytes`` bounds the fallback in this process.
        """
        self._url = redis_url
        self._archive = archive
        self._window_bytes = window_bytes
        self._on_change = on_change
        self._claims = Claims()
        self._session: Session | None = None
        self._writes: set[asyncio.Task[Any]] = set()
        self._configure(max_messages_per_conversation, ttl_hours)

    def _configure(self, max_messages: int, ttl_hours: float) -> None:
        if max_messages < 1:
            raise ValueError("max_messages_per_conversation must be above 0")
        if not 0 < ttl_hours < 1_000_000:
            raise ValueError("ttl_hours must be above 0")
        self._max = max_messages
        ttl_seconds = max(1, round(ttl_hours * 3600))
        self._mode: Cached | Alone
        if self._archive is not None:
            self._mode = Cached(
                self._archive,
                max_messages=max_messages,
                ttl_seconds=ttl_seconds,
                window_bytes=self._window_bytes,
            )
        else:
            self._mode = Alone(
                max_messages=max_messages, ttl_seconds=ttl_seconds, window_bytes=self._window_bytes
            )

    # The conversation as LangChain's messages

    async def add_message(self, conversation_id: str, message: BaseMessage) -> None:
        """Append ``message``; one whose id is there already is not added again.

        Never counts a turn. Raises ``TypeError`` for content that JSON can't carry.
        """
        # As it will come back: a copy of its own, and refused before anything is written.
        [record] = decode_messages([encode_message(to_record(message))])
        await self._change(conversation_id, Change(messages=[record]))

    async def get_conversation_history(self, conversation_id: str) -> list[BaseMessage]:
        """The latest messages, ascending; none for a conversation nobody knows.

        Results of a tool whose call has been trimmed are left out: no model takes them. With an
        archive it raises ``Unavailable`` and ``NotFound``.
        """
        messages = (await self.read(conversation_id)).messages
        first = 0
        if len(messages) >= self._max:
            while first < len(messages) and messages[first].type == "tool":
                first += 1
        return [to_langchain(message) for message in messages[first:]]

    async def register_turn(self, conversation_id: str) -> int:
        """Count a turn; how many there are now."""
        return await self._change(conversation_id, Change(counted=1))

    async def get_summary(self, conversation_id: str) -> str:
        """Empty where there is none. With an archive it raises ``Unavailable`` and ``NotFound``."""
        summary = (await self.read(conversation_id)).summary
        return summary.text if summary else ""

    async def set_summary(self, conversation_id: str, summary: str) -> None:
        await self._change(conversation_id, Change(summary=summary))

    async def clear_conversation(self, conversation_id: str) -> None:
        """Leave no key of it. The permanent store, where there is one, is cleared by its owner,
        and before this is called."""
        session = await self._opened()
        await self._shielded(self._mode.forget(session, conversation_id))

    forget = clear_conversation

    # The conversation as the server and the agent use it

    async def read(self, conversation_id: str, *, at_least: Position = _ANY) -> Transcript:
        """The latest messages, the summary and where they stand, not before ``at_least``.

        The value is shared: don't change its lists. Raises ``Unavailable`` where the truth can't be
        had, and ``NotFound``; an outage is never an empty conversation.
        """
        session = await self._opened()
        return await self._mode.read(session, conversation_id, at_least)

    async def peek(self, conversation_id: str) -> Transcript | None:
        """What the cache has of it, whole; None where it has nothing, or not all. Asks nobody
        else."""
        session, cached = await self._archived()
        return await cached.peek(session, conversation_id)

    async def remember(
        self, conversation_id: str, message: Message, position: Position, *, begins: bool = False
    ) -> None:
        """Bring the cache up to date with ``message``, once the permanent store has it.

        ``message`` must be numbered; ``position`` is where the conversation stands with it, as the
        store knows: its revision, and for an answer how many there are including it. May be
        repeated. A conversation that is not cached stays so, unless it ``begins`` with this message
        and was made just now: nothing else can be missing then.
        """
        session, cached = await self._archived()
        write = cached.remember(session, conversation_id, message, position, begins=begins)
        await self._shielded(write)

    def continued(
        self, transcript: Transcript, message: Message, position: Position
    ) -> Transcript | None:
        """What ``read`` gives once ``message`` is remembered, which comes right after this
        transcript; None where that can't be told from it."""
        outcome, continued = succession.add(transcript, message, position, self._max)
        return continued if outcome == "added" else None

    async def messages_after(self, conversation_id: str, seq: int, limit: int) -> list[Message]:
        """From the permanent store: see ``Archive``. Raises ``Unavailable`` and ``NotFound``."""
        _, cached = await self._archived()
        return await cached.messages_after(conversation_id, seq, limit)

    async def save_summary(self, conversation_id: str, summary: Summary, *, revision: int) -> bool:
        """Keep it, in the permanent store first; False where it is not the next version, or the
        revision is over. Raises ``Unavailable``."""
        session, cached = await self._archived()
        return await self._shielded(
            cached.save_summary(session, conversation_id, summary, revision)
        )

    async def claim_summary(self, conversation_id: str) -> bool:
        """True for one caller at a time among all servers, for two minutes at most."""
        return await self._claims.claim(await self._opened(), conversation_id)

    async def release_summary(self, conversation_id: str) -> None:
        await self._claims.release(await self._opened(), conversation_id)

    # Its life

    async def connect(self) -> None:
        """Try Redis and log how it went. Raises ``ValueError`` for a bad URL or setting only."""
        await self._opened()

    async def check(self) -> None:
        """Ask Redis for a sign of life, so that its absence shows also while nobody needs it."""
        session = await self._opened()
        with suppress(RedisAway):
            await session.command("PING")

    async def close(self) -> None:
        """Let writes under way end, and close the connections."""
        session, self._session = self._session, None
        if session is None:
            return
        if session.loop is asyncio.get_running_loop():
            if self._writes:
                await asyncio.wait(self._writes, timeout=CLOSE_SECONDS)
            await self._mode.close()
        await session.close()

    @property
    def state(self) -> State:
        return "redis" if self._session is not None and self._session.connected else "local"

    @property
    def description(self) -> str:
        """For a person, in one line, without a password."""
        url = url_without_password(self._redis_url())
        if self.state == "redis":
            return f"Redis at {url}"
        return f"this process (no Redis at {url})"

    @property
    def counts(self) -> Counter[str]:
        """What has happened since the start: reads by their way, adds by their outcome."""
        return self._mode.counts

    async def warnings(self) -> list[str]:
        """What in the connected Redis's configuration undermines the memory, one sentence each.

        Empty where nothing does, where it may not be asked for, and while Redis is away.
        """
        session = await self._opened()
        config: dict[str, str] = {}
        for name in ("maxmemory", "maxmemory-policy", "appendonly", "appendfsync"):
            try:
                value = await session.command("CONFIG", "GET", name, may_be_refused=True)
            except RedisAway:
                return []
            if len(value) == 2:
                config[name] = value[1].decode()
        return advice(config, is_only_copy=self._archive is None)

    async def _opened(self) -> Session:
        session = self._session
        if session is None or session.loop is not asyncio.get_running_loop():
            # What an ended event loop left is closed already: its end cancelled the keeper.
            self._writes.clear()
            session = Session(
                self._redis_url(),
                self._mode,
                name="memory",
                tell=self._tell,
                on_change=self._on_change,
            )
            self._session = session
        await session.opened()
        return session

    def _tell(self, error: BaseException | None) -> None:
        if error is None:
            log.info(
                "✅ Redis conversation memory connected: %s",
                url_without_password(self._redis_url()),
                extra={"action": "memory.connected"},
            )
        else:
            log.warning(
                "⚠️ Redis connection failed, using in-memory fallback: %s",
                str(error) or type(error).__name__,
                extra={"action": "memory.disconnected"},
            )

    def _redis_url(self) -> str:
        return self._url or os.environ.get("REDIS_URL") or DEFAULT_URL

    async def _archived(self) -> tuple[Session, Cached]:
        session = await self._opened()
        if not isinstance(self._mode, Cached):
            raise RuntimeError("this memory has no archive")
        return session, self._mode

    async def _change(self, conversation_id: str, change: Change) -> int:
        session = await self._opened()
        if not isinstance(self._mode, Alone):
            raise RuntimeError("with an archive, the permanent store is written first: remember()")
        return await self._shielded(self._mode.change(session, conversation_id, change))

    async def _shielded(self, write: Coroutine[Any, Any, _T]) -> _T:
        task = asyncio.create_task(write, name="memory-write")
        self._writes.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    def _written(self, task: asyncio.Task[Any]) -> None:
        self._writes.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have been cancelled
