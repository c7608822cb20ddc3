"""Which server a conversation lodges with, among those that share a Redis: one at a time.

Without it two servers would give the same numbers to different messages. With Redis away there is
no asking; then the drain gives the later one a new number.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import suppress

from redislink.link import RedisAway
from redislink.session import Session
from spool.keys import ACTIVE, LEASE_MS, SERVER_SECONDS, SERVERS, lease_key
from spool.scripts import LOOK, RELEASE, TAKE

_AT_ONCE = 200

# One a second. A Redis that was emptied knows nobody at first, and not who is cut off for a while.
LOOKS_ALONE = 15


class SpoolLeases:
    """``holder`` is this server's name through all its restarts: its slot's."""

    def __init__(self, holder: str) -> None:
        self._holder = holder
        self.session: Session | None = None
        self._seen_at = 0.0
        self._looks = 0
        self._others: set[str] = set()
        self.anyone = False
        """Whether some server has spooled of late, as of the last ``look``."""

    async def take(self, conversation_id: str, first_place: int = 0) -> bool:
        """Take it, or renew it; False while it is another's. True while Redis is away.

        From ``first_place`` on, the conversation is in this server's spool only; 0: not known yet.
        """
        if self.session is None:
            return True
        try:
            return bool(
                await self.session.run(
                    TAKE, (lease_key(conversation_id),), self._holder, first_place, LEASE_MS
                )
            )
        except RedisAway:
            return True

    async def keep(self, first_places: Mapping[str, int]) -> set[str]:
        """Renew those of these conversations; what is another's by now."""
        wanted = list(first_places.items())
        lost: set[str] = set()
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            kept = await asyncio.gather(*(self.take(*each) for each in some))
            lost |= {name for (name, _), is_kept in zip(some, kept, strict=True) if not is_kept}
        if wanted:
            await self.tell()
        return lost

    async def tell(self) -> None:
        """Have the others know that there are leases."""
        if self.session is None:
            return
        with suppress(RedisAway):
            await self.session.command("SET", ACTIVE, self._holder, "PX", LEASE_MS)

    async def release(self, conversation_id: str) -> None:
        if self.session is None:
            return
        with suppress(RedisAway):
            await self.session.run(RELEASE, (lease_key(conversation_id),), self._holder)

    async def look(self) -> None:
        """Whether anybody spools, and who is there; saying that this server is."""
        if self.session is None:
            return
        try:
            active, servers = await self.session.run(
                LOOK, (ACTIVE, SERVERS), self._holder, SERVER_SECONDS
            )
        except RedisAway:  # while nobody can be asked, it is as it was
            self._looks = 0
            return
        self.anyone = bool(active)
        self._seen_at = time.monotonic()
        self._others = {name.decode() for name in servers} - {self._holder}
        self._looks = 0 if self._others else self._looks + 1

    @property
    def is_alone(self) -> bool:
        """Whether no other server shares this Redis: then what is not in it, and was, is known
        here. Others have had time to say that they are there."""
        return self._looks >= LOOKS_ALONE

    def is_of_another(self, owner: str | None) -> bool:
        """Whether a turn's owner is another server, which was there a moment ago."""
        is_known = time.monotonic() - self._seen_at < SERVER_SECONDS
        return is_known and owner is not None and owner.partition(":")[0] in self._others

    @property
    def can_ask(self) -> bool:
        """Whether there is a Redis to ask now."""
        return self.session is not None and self.session.connected

    @property
    def can_tell(self) -> bool:
        """False while there may be leases, and nobody can be asked."""
        if self.session is None or self.session.connected or not self.anyone:
            return True
        return time.monotonic() - self._seen_at > LEASE_MS / 1000

    async def elsewhere(
        self, conversation_ids: Collection[str], *, surely: bool = False
    ) -> dict[str, int]:
        """Those that lodge with another server at the moment, as far as Redis can tell; and the
        place from which on they are only there. Nobody is asked where nobody has spooled of late,
        unless it must be known ``surely``."""
        if self.session is None or not (self.anyone or surely) or not conversation_ids:
            return {}
        ids = list(conversation_ids)
        try:
            found = await self.session.command("MGET", *map(lease_key, ids))
        except RedisAway:
            return {}
        there: dict[str, int] = {}
        for name, value in zip(ids, found, strict=True):
            holder, _, place = (value or b"").decode("utf-8", "replace").partition(" ")
            if holder and holder != self._holder:
                there[name] = int(place) if place.isdigit() else 0
        return there
