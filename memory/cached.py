"""Memory in front of the permanent store: Redis is a cache that is complete or absent.

Whatever goes wrong with Redis, the store has everything, so nothing here raises for it. A
conversation whose keys could not be brought up to date is *touched*: this process doesn't read them
before they are deleted, and a position check notices what another process missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from msgspec.structs import replace

from memory import entries, succession
from memory.archive import Archive
from memory.errors import Unavailable
from memory.keys import EVERY_CONVERSATION, conversation_keys
from memory.loader import Loader, decode
from memory.records import Message, Position, Summary, Transcript
from memory.scripts import ADD, PEEK, SUMMARY
from memory.window import Window
from redislink.link import Link, RedisAway, ScriptFailed
from redislink.session import Session

log = logging.getLogger(__name__)

MAX_TOUCHED = 100_000
"""Beyond it every conversation counts as touched, and all their keys go."""
_AT_ONCE = 500


class Cached:
    def __init__(
        self, archive: Archive, *, max_messages: int, ttl_seconds: int, window_bytes: int
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.window = Window(ttl_seconds=ttl_seconds, max_bytes=window_bytes)
        self._archive = archive
        self._max = max_messages
        self._ttl = ttl_seconds
        self._loader = Loader(
            archive, max_messages=max_messages, ttl_seconds=ttl_seconds, counts=self.counts
        )
        self._touched: dict[str, int] = {}
        self._all_touched = False

    # Reading

    async def read(self, session: Session, conversation_id: str, at_least: Position) -> Transcript:
        """Raises ``Unavailable`` and ``NotFound``."""
        if self._usable(session, conversation_id):
            try:
                return await self._loader.read(session, conversation_id, at_least)
            except ScriptFailed:  # on what it found: poison, and Redis is well
                self.counts["broken"] += 1
                self._touch(session, conversation_id)
            except RedisAway:
                self.counts["failed"] += 1
        return await self._read_locally(conversation_id, at_least)

    async def peek(self, session: Session, conversation_id: str) -> Transcript | None:
        if self._usable(session, conversation_id):
            keys = conversation_keys(conversation_id)[:4]
            try:
                found = await session.run(PEEK, keys)
                return decode(*found) if found else None
            except entries.Poison:
                return None  # whoever reads it next drops it
            except RedisAway:
                self.counts["failed"] += 1
        return self.window.get(conversation_id)

    async def _read_locally(self, conversation_id: str, at_least: Position) -> Transcript:
        held = self.window.get(conversation_id)
        if held is not None and not succession.satisfies(held.position, at_least):
            held = None
        # Without a position there is nothing to hold it against: another server may have added.
        if held is not None and at_least != Position():
            self.counts["local"] += 1
            return held
        flights = self._loader.flights
        try:
            flight = flights.current(conversation_id)
            if flight is not None:
                transcript = await asyncio.shield(flight)
                if succession.satisfies(transcript.position, at_least):
                    return transcript
            load = self._load_into_window(conversation_id)
            return await asyncio.shield(flights.start(conversation_id, load))
        except Unavailable:
            if held is not None:
                self.counts["local"] += 1
                return held
            raise

    async def _load_into_window(self, conversation_id: str) -> Transcript:
        this = asyncio.current_task()
        transcript = await self._archive.load(conversation_id, self._max)
        self.counts["loaded"] += 1
        # Detached by then: something was added that this transcript may lack.
        if self._loader.flights.current(conversation_id) is this and transcript.messages:
            self.window.put(conversation_id, transcript)
        return transcript

    # Writing

    async def remember(
        self,
        session: Session,
        conversation_id: str,
        message: Message,
        position: Position,
        *,
        begins: bool = False,
    ) -> None:
        if message.seq is None:
            raise ValueError("a message must have its number to be remembered")
        self._loader.flights.detach(conversation_id)
        if self._usable(session, conversation_id):
            try:
                outcome = await session.run(
                    ADD,
                    conversation_keys(conversation_id)[:4],
                    self._ttl,
                    self._max,
                    entries.encode_message(message),
                    entries.id_hash(message.id),
                    entries.order_key(message.seq),
                    position.revision,
                    position.answers if message.seq % 2 == 0 else -1,
                    entries.encode_summary(None, 0) if begins else "",
                )
                self.counts[f"add {outcome.decode()}"] += 1
                if outcome == b"refused" and message.seq % 2 == 0:
                    # An edit has overtaken an answer that stands before it. Nothing here can tell
                    # that from one that the edit has removed; the store can.
                    await session.command("DEL", *conversation_keys(conversation_id)[:4])
                return
            except RedisAway:
                self.counts["failed"] += 1
        if begins:
            whole = Transcript(messages=[message], position=replace(position, turn=1))
            self.window.put(conversation_id, whole)
        else:
            self._remember_locally(conversation_id, message, position)
        self._touch(session, conversation_id)

    def _remember_locally(self, conversation_id: str, message: Message, position: Position) -> None:
        held = self.window.get(conversation_id)
        if held is None:
            return
        outcome, transcript = succession.add(held, message, position, self._max)
        overtaken = outcome == "refused" and message.type == "ai"
        if outcome in succession.DROPPED or overtaken:
            self.window.drop(conversation_id)
        else:
            self.window.put(conversation_id, transcript)

    async def save_summary(
        self, session: Session, conversation_id: str, summary: Summary, revision: int
    ) -> bool:
        """Raises ``Unavailable`` and ``NotFound``."""
        if not await self._archive.save_summary(conversation_id, summary, revision=revision):
            # It was made from what is older than the store, whose summary no position tells of:
            # left here, it would be made again after every turn, and refused again.
            await self._drop(session, conversation_id, conversation_keys(conversation_id)[:4])
            return False
        self._loader.flights.detach(conversation_id)
        if self._usable(session, conversation_id):
            try:
                await session.run(
                    SUMMARY,
                    conversation_keys(conversation_id)[:4],
                    self._ttl,
                    entries.encode_summary(summary, revision),
                    revision,
                    summary.version,
                )
                return True
            except RedisAway:
                self.counts["failed"] += 1
        held = self.window.get(conversation_id)
        if held is not None and held.position.revision == revision:
            self.window.put(conversation_id, replace(held, summary=summary))
        self._touch(session, conversation_id)
        return True

    async def messages_after(self, conversation_id: str, seq: int, limit: int) -> list[Message]:
        return await self._archive.messages_after(conversation_id, seq, limit)

    async def forget(self, session: Session, conversation_id: str) -> None:
        await self._drop(session, conversation_id, conversation_keys(conversation_id))

    async def _drop(self, session: Session, conversation_id: str, keys: tuple[bytes, ...]) -> None:
        self._loader.flights.detach(conversation_id)
        self.window.drop(conversation_id)
        if self._usable(session, conversation_id):
            try:
                await session.command("DEL", *keys)
                return
            except RedisAway:
                self.counts["failed"] += 1
        self._touch(session, conversation_id)

    async def close(self) -> None:
        await self._loader.flights.close()

    # Outages

    def _usable(self, session: Session, conversation_id: str) -> bool:
        return session.connected and not self._all_touched and conversation_id not in self._touched

    def _touch(self, session: Session, conversation_id: str) -> None:
        if len(self._touched) >= MAX_TOUCHED:
            self._all_touched = True
            self._touched.clear()
        if not self._all_touched:
            self._touched[conversation_id] = self._touched.get(conversation_id, 0) + 1
        session.repair_soon()

    @property
    def wanting(self) -> bool:
        return bool(self._touched) or self._all_touched

    async def repair(self, link: Link) -> None:
        """Delete the keys of what was touched. Raises ``RedisAway``."""
        if self._all_touched:
            self._all_touched = False
            try:
                await self._delete_every_conversation(link)
            except RedisAway:
                self._all_touched = True
                raise
        touched = list(self._touched.items())
        for first in range(0, len(touched), _AT_ONCE):
            some = touched[first : first + _AT_ONCE]
            await asyncio.gather(
                *(link.command("DEL", *conversation_keys(name)[:4]) for name, _ in some)
            )
            for name, times in some:
                if self._touched.get(name) == times:  # else it was touched again meanwhile
                    del self._touched[name]
                self.window.drop(name)
        if not self.wanting:
            self.window.clear()

    async def _delete_every_conversation(self, link: Link) -> None:
        for pattern in EVERY_CONVERSATION:
            cursor: bytes | str = b"0"
            while True:
                cursor, names = await link.command("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
                if names:
                    await link.command("UNLINK", *names)
                if cursor == b"0":
                    break
