"""One summariser a conversation: by lease in Redis, and in this process without it."""

from __future__ import annotations

import secrets
import time

from memory.keys import SUMMARISING_MS, conversation_keys
from memory.scripts import RELEASE
from redislink.link import RedisAway
from redislink.session import Session


class Claims:
    def __init__(self) -> None:
        self._token = secrets.token_hex(8)
        self._ends: dict[str, float] = {}
        """When each of this process's own claims is over; at most one a running summary."""

    async def claim(self, session: Session, conversation_id: str) -> bool:
        now = time.monotonic()
        if self._ends.get(conversation_id, now) > now:
            return False
        self._ends[conversation_id] = now + SUMMARISING_MS / 1000
        key = conversation_keys(conversation_id).summarising
        try:
            taken = await session.command("SET", key, self._token, "NX", "PX", SUMMARISING_MS)
        except RedisAway:
            return True
        if taken is None:
            self._ends.pop(conversation_id, None)
        return taken is not None

    async def release(self, session: Session, conversation_id: str) -> None:
        """Harmless where nothing was claimed. Redis away: the lease ends by itself."""
        if self._ends.pop(conversation_id, None) is None:
            return
        try:
            key = conversation_keys(conversation_id).summarising
            await session.run(RELEASE, (key,), self._token)
        except RedisAway:
            return
