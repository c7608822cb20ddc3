"""How long a stream may be idle."""

from __future__ import annotations

import asyncio
from types import TracebackType


class IdleTimeout:
    """Ends a wait for a stream's next chunk with ``TimeoutError`` when it has lasted too long.

    One timer for a whole stream, which looks when it is due whether something came meanwhile: a
    time-out for each chunk costs as much as decoding it. Who enters it must be who waits.
    """

    def __init__(self, seconds: float | None) -> None:
        """None: for ever."""
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._since: float | None = None
        """When the wait began that lasts; None while nobody waits."""

    def begins(self) -> None:
        """The next chunk is waited for."""
        self._since = self._loop.time()

    def ends(self) -> None:
        """It came, and is being worked on."""
        self._since = None

    async def __aenter__(self) -> IdleTimeout:
        await self._timeout.__aenter__()
        self._loop = asyncio.get_running_loop()
        if self._seconds is not None:
            self._look_at(self._loop.time() + self._seconds, self._seconds)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, traceback)

    def _look_at(self, when: float, seconds: float) -> None:
        self._timer = self._loop.call_at(when, self._look, seconds)

    def _look(self, seconds: float) -> None:
        now = self._loop.time()
        since = now if self._since is None else self._since
        if now < since + seconds:
            self._look_at(since + seconds, seconds)
        else:
            self._timeout.reschedule(now)
