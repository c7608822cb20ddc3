"""Memory without a permanent store: Redis is the only copy, as in a plain script.

While Redis is away the window serves, and what is changed there is replayed into Redis when it
returns, each change once and in order. A conversation with changes waiting stays in the window
until they are through, else it would be read without them. The window also follows along while
Redis is there, so that an outage doesn't look like an empty conversation.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter

from memory import entries
from memory.changes import Change, applied
from memory.keys import conversation_keys
from memory.loader import decode
from memory.locks import KeyedLocks
from memory.records import Position, Transcript
from memory.scripts import CHANGE_ALONE, READ_ALONE
from memory.window import Window
from redislink.link import Link, RedisAway
from redislink.session import Session

log = logging.getLogger(__name__)

_AT_ONCE = 100


class Alone:
    def __init__(self, *, max_messages: int, ttl_seconds: int, window_bytes: int) -> None:
        self.counts: Counter[str] = Counter()
        self.window = Window(
            ttl_seconds=ttl_seconds, max_bytes=window_bytes, on_evict=self._evicted
        )
        self._max = max_messages
        self._ttl = ttl_seconds
        self._waiting: dict[str, list[Change]] = {}
        self._lost_some = False
        self._maker = secrets.token_hex(8)
        self._made = 0
        self._locks = KeyedLocks()

    async def read(self, session: Session, conversation_id: str, at_least: Position) -> Transcript:
        """``at_least`` asks nothing here: what Redis or the window has is all there is."""
        if self._usable(session, conversation_id):
            try:
                return await self._read_redis(session, conversation_id)
            except RedisAway:
                self.counts["failed"] += 1
        return self.window.get(conversation_id) or Transcript(messages=[])

    async def _read_redis(self, session: Session, conversation_id: str) -> Transcript:
        keys = conversation_keys(conversation_id)
        raw_messages, *rest = await session.run(READ_ALONE, keys[:4], self._ttl)
        transcript = Transcript(messages=[])
        size = 0
        if raw_messages is None:
            self._warn_of_poison(conversation_id)
        else:
            try:
                transcript = decode(raw_messages, *rest)
                size = 2 * sum(map(len, raw_messages))
            except entries.Poison:
                self._warn_of_poison(conversation_id)
                await session.command("DEL", *keys)
        if conversation_id not in self._waiting:  # a change may have failed meanwhile
            if transcript == Transcript(messages=[]):
                self.window.drop(conversation_id)
            else:
                self.window.put(conversation_id, transcript, content_bytes=size)
        return transcript

    async def change(self, session: Session, conversation_id: str, change: Change) -> int:
        """The turns counted by then."""
        # One at a time, in the order they were asked for: several under way might arrive in any
        # order, and of one maker's changes Redis remembers only which came last.
        async with self._locks.holding(conversation_id):
            self._made += 1
            change.token = f"{self._maker}{self._made:016x}"
            if self._usable(session, conversation_id):
                try:
                    turns, existed = await self._send(session, conversation_id, change)
                except RedisAway:
                    self.counts["failed"] += 1
                    change.sent = True
                else:
                    self._follow(conversation_id, change, turns, existed=existed)
                    return turns
            return self._change_locally(session, conversation_id, change)

    async def forget(self, session: Session, conversation_id: str) -> None:
        await self.change(session, conversation_id, Change(clear=True))

    async def close(self) -> None:
        """What waits for Redis stays, for when the memory is used again."""

    async def _send(
        self, redis: Session | Link, conversation_id: str, change: Change
    ) -> tuple[int, bool]:
        keys = conversation_keys(conversation_id)
        if change.only_clears:
            await redis.command("DEL", *keys)
            return 0, False
        turns, existed, broken = await redis.run(
            CHANGE_ALONE,
            keys[:4],
            self._ttl,
            self._max,
            change.token,
            int(change.clear),
            change.counted,
            b"" if change.summary is None else entries.encode_text(change.summary),
            *map(entries.encode_message, change.messages),
        )
        if broken:
            self._warn_of_poison(conversation_id)
        return turns, bool(existed)

    def _follow(self, conversation_id: str, change: Change, turns: int, *, existed: bool) -> None:
        if conversation_id in self._waiting:
            return
        if change.only_clears:
            self.window.drop(conversation_id)
            return
        held = self.window.get(conversation_id) if existed else Transcript(messages=[])
        if held is not None:
            self.window.put(conversation_id, applied(held, change, self._max, answers=turns))

    def _change_locally(self, session: Session, conversation_id: str, change: Change) -> int:
        waiting = self._waiting.setdefault(conversation_id, [])
        if waiting and not waiting[-1].sent and not change.sent:
            waiting[-1].absorb(change, self._max)
        else:
            waiting.append(change)
        held = self.window.get(conversation_id) or Transcript(messages=[])
        transcript = applied(held, change, self._max)
        # Kept also when it is empty: the waiting changes live as long as their conversation here.
        self.window.put(conversation_id, transcript)
        session.repair_soon()
        return transcript.position.answers

    def _usable(self, session: Session, conversation_id: str) -> bool:
        return session.connected and conversation_id not in self._waiting

    def _evicted(self, conversation_id: str) -> None:
        if self._waiting.pop(conversation_id, None) is not None and not self._lost_some:
            self._lost_some = True
            log.warning(
                "The in-memory fallback is full; its oldest conversations are lost",
                extra={"action": "memory.window_full"},
            )

    @property
    def wanting(self) -> bool:
        return bool(self._waiting)

    async def repair(self, link: Link) -> None:
        """Replay what waits. Raises ``RedisAway``; what was replayed by then is not repeated."""
        waiting = list(self._waiting)
        for first in range(0, len(waiting), _AT_ONCE):
            results = await asyncio.gather(
                *(self._replay(link, name) for name in waiting[first : first + _AT_ONCE]),
                return_exceptions=True,
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        self._lost_some = False

    async def _replay(self, link: Link, conversation_id: str) -> None:
        while changes := self._waiting.get(conversation_id):
            change = changes[0]
            change.sent = True
            await self._send(link, conversation_id, change)
            self.counts["replayed"] += 1
            if changes[0] is change:
                changes.pop(0)
            if not changes and self._waiting.get(conversation_id) is changes:
                del self._waiting[conversation_id]

    def _warn_of_poison(self, conversation_id: str) -> None:
        self.counts["broken"] += 1
        log.warning(
            "What Redis held of a conversation could not be read; it is lost and begins anew",
            extra={"action": "memory.poison", "conversation_id": conversation_id},
        )
