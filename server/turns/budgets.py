"""What may be used of the model's tokens in a day (UTC): by one user, and by all together.

The truth of a user is the sum of what their turns of the day used, asked of the store when they
send something, and kept in mind for a few seconds. What ends here raises it meanwhile. All users'
sum is too long to add up: each server notes what ended with it, and learns by that what ended with
the others. A limit of 0 costs nothing.

What was broken off (stopped, deleted while it was answered) is in no sum, since its provider told
nothing: it is estimated, and added to all users' sum, and here, by this server alone and until its
end, to its user's. Otherwise whoever stops each answer shortly before its end would pay nothing.

So a budget is overshot by what is being answered when it is reached (what an answer will cost
nobody knows), and by what ended on other servers within ``FRESH_SECONDS``. While the store is away
the last sum that is known counts, with what ends here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict

from memory.errors import Unavailable
from memory.locks import KeyedLocks
from memory.records import Turn
from server.clock import now_ms
from server.errors import RateLimited
from server.tasks import again_and_again
from stores.usage import DAY_MS, NOTHING, Budget, UsageStore, day_of, used_by

log = logging.getLogger(__name__)

FRESH_SECONDS = 3.0

# Users kept in mind, 300 bytes each; beyond it, who sent nothing for the longest is asked of anew.
MAX_KEPT = 10_000


class Sum:
    """Of one user's day."""

    def __init__(self, day: int, used: int, read_at: float) -> None:
        self.day = day
        self.used = used
        self.read_at = read_at
        """By ``time.monotonic``."""


class Budgets:
    def __init__(self, usage: UsageStore, *, per_user: int, together: int, server: str) -> None:
        """In tokens a day; 0 is no limit. ``server`` is this process's name."""
        self._usage = usage
        self._per_user = per_user
        self._together = together
        self._server = server
        self._users: OrderedDict[str, Sum] = OrderedDict()
        self._reading = KeyedLocks()
        self._untold: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """By user: the day, and how many tokens."""
        self._spent_here: Counter[int] = Counter()
        self._spent_elsewhere: dict[int, int] = {}
        # Named from the start: of what appears with its first case no rate shows that case.
        self.refused: Counter[str] = Counter(user=0, together=0)
        """Messages that met a used-up budget, by whose it was; also one that is known, and free."""

    @property
    def on(self) -> bool:
        return bool(self._per_user or self._together)

    async def require(self, user_id: str) -> None:
        """Raises ``RateLimited`` where there is nothing left for a new message."""
        if self._together and self._all_used(today()) >= self._together:
            raise self._refusal("together", f"All users together have used {self._together:,}")
        if self._per_user and await self._used_by(user_id) >= self._per_user:
            raise self._refusal("user", f"You have used {self._per_user:,}")

    def ended(self, turn: Turn) -> None:
        """A turn ended here, and is kept."""
        if not self.on:
            return
        tokens = used_by(turn.answer.usage if turn.answer else None).total_tokens
        if not tokens:
            return
        day = day_of(turn.created_at)
        if self._together:
            self._spent_here[day] += tokens
        known = self._users.get(turn.user_id)
        if known is not None and known.day == day:
            known.used += tokens

    def untold(self, turn: Turn, tokens: int) -> None:
        """So many were used for a turn, and what is kept of it does not say so."""
        day = day_of(turn.created_at)
        if self._together:
            self._spent_here[day] += tokens
        if self._per_user:
            self._untold[turn.user_id] = (day, self._untold_of(turn.user_id, day) + tokens)
            self._untold.move_to_end(turn.user_id)
            if len(self._untold) > MAX_KEPT:
                self._untold.popitem(last=False)

    def _untold_of(self, user_id: str, day: int) -> int:
        of_day, tokens = self._untold.get(user_id, (day, 0))
        return tokens if of_day == day else 0

    async def of_user(self, user_id: str) -> Budget | None:
        """None where users have no budgets of their own."""
        if not self._per_user:
            return None
        return Budget(self._per_user, await self._used_by(user_id), (today() + 1) * DAY_MS)

    def _refusal(self, whose: str, what: str) -> RateLimited:
        self.refused[whose] += 1
        left_ms = (today() + 1) * DAY_MS - now_ms()
        # Rounded up: who comes back after it finds a new day, also by a hasty clock.
        return RateLimited(
            f"{what} tokens today, all there are for a day; the next begins at midnight UTC.",
            retry_after=left_ms // 1000 + 1,
        )

    async def _used_by(self, user_id: str) -> int:
        known = self._fresh(user_id)
        if known is None:
            async with self._reading.holding(user_id):
                known = self._fresh(user_id) or await self._read(user_id)
        return known.used + self._untold_of(user_id, known.day)

    def _fresh(self, user_id: str) -> Sum | None:
        known = self._users.get(user_id)
        if known is None or known.day != today():
            return None
        return known if time.monotonic() - known.read_at < FRESH_SECONDS else None

    async def _read(self, user_id: str) -> Sum:
        """What ends in this very moment may be in it twice, or not at all, until the next time."""
        day, read_at = today(), time.monotonic()
        try:
            used = (await self._usage.of_user(user_id, day)).get(day, NOTHING).total_tokens
        except Unavailable:
            known = self._users.get(user_id)
            used = known.used if known is not None and known.day == day else 0
            read_at -= FRESH_SECONDS  # it is asked again, once it can be
        self._users[user_id] = known = Sum(day, used, read_at)
        self._users.move_to_end(user_id)
        if len(self._users) > MAX_KEPT:
            self._users.popitem(last=False)
        return known

    # All together

    def _all_used(self, day: int) -> int:
        return self._spent_here[day] + self._spent_elsewhere.get(day, 0)

    async def share_forever(self) -> None:
        if self._together:
            await again_and_again(self.share, lambda: FRESH_SECONDS)

    async def share(self) -> None:
        """Note what ended here, and learn what ended elsewhere."""
        day = today()
        for each in sorted({day, *self._spent_here}):
            if each < day - 1:  # long over, and told
                del self._spent_here[each]
                self._spent_elsewhere.pop(each, None)
                continue
            here = self._spent_here[each]
            try:
                noted = await self._usage.note_spent(self._server, each, here)
            except Unavailable:
                log.debug("What was spent is noted later.")
                return
            self._spent_elsewhere[each] = noted - here

    async def close(self) -> None:
        """What ended here since the last time must not be lost with this process."""
        if self._together:
            try:
                async with asyncio.timeout(FRESH_SECONDS):
                    await self.share()
            except TimeoutError:
                log.debug("What was spent last is not noted.")


def today() -> int:
    return day_of(now_ms())
