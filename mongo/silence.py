"""For how long MongoDB has said nothing to anybody, in time that our own event loop was awake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TICK_SECONDS = 0.05
# What a tick counts for at most. One that comes late proves nothing: the loop was busy, or the
# process stopped, and what MongoDB said meanwhile may lie there unread. Answers take several rounds
# of the loop each, so also a loop that is slow every round must not count in full.
MOST_OF_A_TICK = 1.2 * TICK_SECONDS


class Silence:
    """Ticks while somebody waits, and with each tick tells how many seconds nobody was answered.

    Counted from the last answer, or from when the first of those who wait began; so one that takes
    long beside others that don't is no silence.
    """

    def __init__(self, on_tick: Callable[[float], None]) -> None:
        self._on_tick = on_tick
        self._waiting = 0
        self._awake = 0.0
        self._ticked_at = 0.0
        self._quiet_since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Somebody waits."""
        self._waiting += 1
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._ticked_at = loop.time()
            self._timer = loop.call_later(TICK_SECONDS, self._tick, loop)
        if self._waiting == 1:
            self._quiet_since = self.awake()

    def end(self) -> None:
        """They don't any more, whatever came of it."""
        self._waiting -= 1

    def answered(self) -> None:
        self._quiet_since = self.awake()

    def awake(self) -> float:
        """Seconds that count, since some moment; only while somebody waits do they go on."""
        if self._timer is None:
            return self._awake
        since = asyncio.get_running_loop().time() - self._ticked_at
        return self._awake + min(since, MOST_OF_A_TICK)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._awake = self.awake()
        self._ticked_at = loop.time()
        if not self._waiting:
            self._timer = None
            return
        self._timer = loop.call_later(TICK_SECONDS, self._tick, loop)
        self._on_tick(self._awake - self._quiet_since)
