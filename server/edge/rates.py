"""How much one user may do in a minute, on all servers together.

An allowance is used up by a burst of all of it, and grows back evenly over a minute; what is kept
of it is the moment when it will be whole again (GCRA). The truth is in Redis, by Redis's clock.
Each process keeps in mind what it was told, and so

- goes on alone while Redis is away, from where it was;
- need not ask for what is used up: others can only have used more of it.

No call waits long for Redis. Where that is silent, this process decides, and asks again once it has
heard. Then, and when Redis comes back, a user may get up to twice as much for a minute. And a call
that comes soon after another does not wait at all, while its user has half of the allowance left:
Redis is told a moment later, of all of them at once. Only what comes within that moment can then be
too much. A trip to Redis costs more than a cheap call.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Literal, NamedTuple

from redislink.link import Link, RedisAway, Reply
from redislink.session import Session
from server.edge.keys import rate_key
from server.edge.scripts import TAKE
from server.errors import RateLimited

log = logging.getLogger(__name__)

Kind = Literal["calls", "messages"]

# All times are in microseconds.
MINUTE = 60 * 1_000_000
PATIENCE = 150_000
"""A healthy Redis takes less than a millisecond."""
LATE = 20_000
"""A process that wakes so late is busy, and may not have read what Redis has answered."""
SOON = 1_000_000
"""So long what Redis said of a user is nearly true."""
TELL_SECONDS = 0.05

# Allowances kept in mind that are not whole: 300 bytes each. Beyond it, that of whoever has asked
# for nothing for the longest counts as whole.
MAX_KEPT = 20_000


class Allowance(NamedTuple):
    whole_at: int
    """By this process's clock."""
    heard_at: int
    """When Redis last told of it."""


WHOLE = Allowance(-MINUTE, -MINUTE)


class Rates:
    """``take`` works from the beginning, ``connect`` shares it. A limit of 0 is none."""

    def __init__(self, *, calls: int, messages: int, redis_url: str | None = None) -> None:
        self._limits: dict[Kind, int] = {"calls": calls, "messages": messages}
        self._redis_url = redis_url
        self._session: Session | None = None
        self._is_silent = False
        self._heard_at = 0
        """When Redis last answered; or failed to, which ends a wait as well."""
        self._untold: Counter[str] = Counter()
        """Calls that Redis is not told of yet, by user."""
        self._telling: asyncio.TimerHandle | None = None
        self._kept: OrderedDict[tuple[Kind, str], Allowance] = OrderedDict()
        """Who asked longest ago first."""

    async def connect(self) -> None:
        """Returns when the first attempt to reach Redis is over, whatever came of it."""
        if self._redis_url is not None:
            self._session = Session(self._redis_url, self, name="rate", tell=_told, probe=TAKE)
            await self._session.opened()

    async def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        if self._session is not None:
            await self._session.close()

    @property
    def kept(self) -> int:
        """How many allowances this process keeps in mind."""
        return len(self._kept)

    async def take(self, user_id: str, *kinds: Kind) -> None:
        """Take one of each. Raises ``RateLimited``, and then has taken none."""
        wanted = [kind for kind in kinds if self._limits[kind]]
        if not wanted:
            return
        self._require(user_id, wanted)
        if wanted == ["calls"] and self._has_plenty(user_id):
            self._take_here(user_id, wanted)
            self._tell_soon(user_id)
            return
        reply = await self._ask(user_id, wanted)
        if reply is None:
            self._require(user_id, wanted)  # it was a while ago
            self._take_here(user_id, wanted)
        elif not reply[0]:
            self._require(user_id, wanted)
            raise self._refusal(wanted[0], 0)  # it has grown back just now

    def give_back(self, user_id: str, *kinds: Kind) -> None:
        """One of each that was taken a moment ago, for what turned out to cost nothing."""
        limited = [kind for kind in kinds if self._limits[kind]]
        for kind in limited:
            seen = self._seen(kind, user_id)
            self._kept[kind, user_id] = seen._replace(whole_at=seen.whole_at - self._one(kind))
        if limited:
            self._submit(user_id, limited, told=-1)

    # Here

    def _require(self, user_id: str, kinds: Sequence[Kind]) -> None:
        """Raises ``RateLimited`` where one of them is surely used up."""
        now = _now()
        waits = {
            kind: self._seen(kind, user_id).whole_at - now + self._one(kind) - MINUTE
            for kind in kinds
        }
        kind = max(waits, key=lambda each: waits[each])
        if waits[kind] > 0:
            raise self._refusal(kind, waits[kind])

    def _refusal(self, kind: Kind, wait: int) -> RateLimited:
        # Rounded up, to hundredths: who comes back after it gets in, also by a hasty clock.
        return RateLimited(
            f"That is more than {self._limits[kind]} {kind} a minute.",
            retry_after=(wait // 10_000 + 1) / 100,
        )

    def _take_here(self, user_id: str, kinds: Sequence[Kind]) -> None:
        now = _now()
        for kind in kinds:
            seen = self._seen(kind, user_id)
            self._keep(kind, user_id, max(now, seen.whole_at) + self._one(kind), seen.heard_at)

    def _seen(self, kind: Kind, user_id: str) -> Allowance:
        return self._kept.get((kind, user_id), WHOLE)

    def _keep(self, kind: Kind, user_id: str, whole_at: int, heard_at: int) -> None:
        whole_at = max(whole_at, self._seen(kind, user_id).whole_at)
        self._kept[kind, user_id] = Allowance(whole_at, heard_at)
        self._kept.move_to_end((kind, user_id))
        now = _now()
        while self._kept:
            first, allowance = next(iter(self._kept.items()))
            if allowance.whole_at > now and len(self._kept) <= MAX_KEPT:
                break
            del self._kept[first]

    def _has_plenty(self, user_id: str) -> bool:
        now, seen = _now(), self._seen("calls", user_id)
        return now - seen.heard_at < SOON and seen.whole_at - now < MINUTE // 2

    def _one(self, kind: Kind) -> int:
        """In how long one grows back. Rounded down: a whole burst must fit into the minute."""
        return MINUTE // self._limits[kind]

    # In Redis

    def _tell_soon(self, user_id: str) -> None:
        self._untold[user_id] += 1
        if self._telling is None:
            loop = asyncio.get_running_loop()
            self._telling = loop.call_later(TELL_SECONDS, self._tell)

    def _tell(self) -> None:
        self._telling = None
        untold, self._untold = self._untold, Counter()
        for user_id, count in untold.items():
            self._submit(user_id, ["calls"], told=count)

    def _submit(
        self, user_id: str, kinds: Sequence[Kind], *, told: int = 0
    ) -> asyncio.Future[Reply] | None:
        """What the script will answer; None where Redis is away, or silent."""
        if self._session is None or self._is_silent:
            return None
        try:
            future = self._session.submit(
                TAKE,
                tuple(rate_key(kind, user_id) for kind in kinds),
                told,
                *(self._one(kind) for kind in kinds),
            )
        except RedisAway:
            return None

        def heard(future: asyncio.Future[Reply]) -> None:
            self._is_silent = False
            self._heard_at = now = _now()
            if future.cancelled() or future.exception() is not None:
                return
            for kind, missing in zip(kinds, future.result()[1:], strict=True):
                # Seen from here it is a moment later than in Redis, by which it is told to wait.
                self._keep(kind, user_id, now + missing, now)

        future.add_done_callback(heard)
        return future

    async def _ask(self, user_id: str, kinds: Sequence[Kind]) -> Reply:
        """What it answered; None where it can't be asked, or says nothing."""
        if count := self._untold.pop(user_id, 0):
            self._submit(user_id, ["calls"], told=count)
        future = self._submit(user_id, kinds)
        if future is None:
            return None
        awake_at = _now()
        while not future.done():
            # Of many calls the last ones wait longer: silence is what counts, and only while this
            # process is awake.
            left = max(awake_at, self._heard_at) + PATIENCE - _now()
            if left <= 0:
                self._is_silent = True
                return None
            due = _now() + left
            await asyncio.wait((future,), timeout=left / 1_000_000)
            if _now() - due > LATE:
                awake_at = _now()
        return None if future.exception() is not None else future.result()

    # Repairs of the session: a minute later nobody could tell that Redis was away.

    wanting = False

    async def repair(self, link: Link) -> None:
        pass


def _now() -> int:
    return time.monotonic_ns() // 1000


def _told(error: BaseException | None) -> None:
    if error is not None:
        log.debug("Each server limits its users by itself.", extra={"action": "rate.disconnected"})
