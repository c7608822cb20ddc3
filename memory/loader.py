"""Reading through Redis: hot, or loaded from the permanent store once for everybody.

A cold conversation is loaded by whoever holds its lease in Redis; others of the same process join,
other processes poll until it is there. A message that is added meanwhile takes the lease away, and
the loaded transcript, which may lack it, is then answered but not installed.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from typing import NamedTuple

from memory import entries
from memory.archive import Archive
from memory.flights import Flights
from memory.keys import LOADING_MS, conversation_keys
from memory.records import Position, Transcript
from memory.scripts import GET, INSTALL, RELEASE
from memory.succession import satisfies
from redislink.link import RedisAway
from redislink.session import Session

log = logging.getLogger(__name__)

POLL_SECONDS = (0.002, 0.020)
POLL_FOR_SECONDS = 0.5
"""Then it is read from the store without being installed: its loader is slow, or dead."""


class _Cold(NamedTuple):
    token: str | None
    """Our load lease; None while somebody else holds it."""


class Loader:
    def __init__(
        self, archive: Archive, *, max_messages: int, ttl_seconds: int, counts: Counter[str]
    ) -> None:
        self._archive = archive
        self._max = max_messages
        self._ttl = ttl_seconds
        self._counts = counts
        self.flights = Flights()

    async def read(self, session: Session, conversation_id: str, at_least: Position) -> Transcript:
        """Raises ``RedisAway``, and the store's ``Unavailable`` and ``NotFound``."""
        flight = self.flights.current(conversation_id)
        if flight is not None:
            transcript = await asyncio.shield(flight)
            if satisfies(transcript.position, at_least):
                return transcript
        found = await self._get(session, conversation_id, at_least)
        if isinstance(found, Transcript):
            self._counts["hot"] += 1
            return found
        if found.token is not None:
            load = self._load(session, conversation_id, found.token)
            return await asyncio.shield(self.flights.start(conversation_id, load))
        flight = self.flights.current(conversation_id) or self.flights.start(
            conversation_id, self._wait(session, conversation_id, at_least)
        )
        transcript = await asyncio.shield(flight)
        if satisfies(transcript.position, at_least):
            return transcript
        return await self._archive.load(conversation_id, self._max)

    async def _get(
        self, session: Session, conversation_id: str, at_least: Position
    ) -> Transcript | _Cold:
        keys = conversation_keys(conversation_id)
        for _ in range(2):
            token = secrets.token_hex(8)
            status, *rest = await session.run(
                GET,
                keys[:4],
                self._ttl,
                token,
                LOADING_MS,
                at_least.revision,
                at_least.turn,
                at_least.answers,
            )
            if status != b"hot":
                why = rest[0].decode()
                self._counts[why] += 1
                if why == "broken":
                    self._warn_of_poison(conversation_id)
                return _Cold(token if status == b"leased" else None)
            try:
                return decode(*rest)
            except entries.Poison:
                self._counts["broken"] += 1
                self._warn_of_poison(conversation_id)
                await session.command("DEL", *keys[:4])
        return _Cold(None)

    async def _load(self, session: Session, conversation_id: str, token: str) -> Transcript:
        try:
            transcript = await self._archive.load(conversation_id, self._max)
        except Exception:
            await self._release(session, conversation_id, token)
            raise
        self._counts["loaded"] += 1
        # An empty one is not kept: a list can't be empty. What lacks something would be taken for
        # all there is.
        if not transcript.messages or not transcript.whole:
            await self._release(session, conversation_id, token)
            return transcript
        try:
            installed = await session.run(
                INSTALL,
                conversation_keys(conversation_id)[:4],
                token,
                self._ttl,
                entries.encode_summary(transcript.summary, transcript.position.revision),
                transcript.position.answers,
                *map(entries.encode_message, transcript.messages),
            )
        except RedisAway:
            return transcript
        self._counts["installed" if installed else "overtaken"] += 1
        return transcript

    async def _wait(self, session: Session, conversation_id: str, at_least: Position) -> Transcript:
        loop = asyncio.get_running_loop()
        end = loop.time() + POLL_FOR_SECONDS
        pause, longest = POLL_SECONDS
        while loop.time() < end:
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
            found = await self._get(session, conversation_id, at_least)
            if isinstance(found, Transcript):
                self._counts["waited"] += 1
                return found
            if found.token is not None:
                return await self._load(session, conversation_id, found.token)
        return await self._archive.load(conversation_id, self._max)

    async def _release(self, session: Session, conversation_id: str, token: str) -> None:
        try:
            await session.run(RELEASE, (conversation_keys(conversation_id).loading,), token)
        except RedisAway:
            log.debug("A load lease was left to expire", extra={"action": "memory.release"})

    def _warn_of_poison(self, conversation_id: str) -> None:
        log.warning(
            "What Redis held of a conversation could not be read; loading it anew",
            extra={"action": "memory.poison", "conversation_id": conversation_id},
        )


def decode(raw_messages: list[bytes], raw_summary: bytes, raw_turns: bytes) -> Transcript:
    """A conversation as the scripts answer it. Raises ``Poison``."""
    messages = entries.decode_messages(raw_messages)
    summary, revision = entries.decode_summary(raw_summary)
    answers = entries.decode_turns(raw_turns)
    position = entries.position_of(messages, revision, answers)
    return Transcript(messages=messages, summary=summary, position=position)
