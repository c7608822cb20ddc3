"""PyMongo's pool, with a line before it in which operations wait for a connection.

Where connections are short PyMongo's own waiting falls apart: who waits takes one lock of all, five
times an operation, and hands it over in another turn of the event loop each time. So the more wait,
the less gets through, and once some hundreds do it stays so: 300 ms for a connection, where MongoDB
answers in 5 (400 users, docs/performance.md). In this line nobody is woken who can't go on, and
behind it PyMongo's pool finds its lock free, which costs no turn at all.

It bounds and refuses what the pool would: it looks at the same numbers, and leaves all else to it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import Any

from pymongo import _csot
from pymongo.asynchronous.pool import (  # type: ignore[attr-defined]  # names of its own, all
    AsyncConnection,
    Pool,
    PoolState,
)

from mongo.direct import DirectConnection


class DirectPool(Pool):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._line: deque[asyncio.Future[None]] = deque()

    async def connect(self, *arguments: Any, **options: Any) -> AsyncConnection:
        connection = await super().connect(*arguments, **options)
        # The driver's own looks after the server wait for news, and have to be called off.
        if not self.is_sdam:
            connection.__class__ = DirectConnection  # the parent names its class itself
        return connection

    async def _get_conn(self, checkout_started_time: float, *arguments: Any, **options: Any) -> Any:
        if self._line or not self._has_one:
            await self._wait_in_line(checkout_started_time)
        try:
            return await super()._get_conn(checkout_started_time, *arguments, **options)
        finally:
            self._go_on()  # where it has made one, or failed to, another may be made

    async def checkin(self, conn: AsyncConnection) -> None:
        try:
            await super().checkin(conn)
        finally:
            self._go_on()

    async def _reset(self, *arguments: Any, **options: Any) -> None:
        try:
            await super()._reset(*arguments, **options)
        finally:
            for waiting in self._line:  # the pool tells them why
                _wake(waiting)
            self._line.clear()

    @property
    def _has_one(self) -> bool:
        """Whether the pool gives a connection, begins to make one, or refuses, and waits for
        nobody's to come back."""
        if self.state != PoolState.READY:
            return True
        may_be_made = self._pending < self._max_connecting
        return self.requests < self.max_pool_size and (bool(self.conns) or may_be_made)

    async def _wait_in_line(self, began: float) -> None:
        join = self._line.append
        try:
            async with asyncio.timeout(self._seconds_left()):
                while True:
                    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    join(waiting)
                    # Should anything have changed that none of these methods has seen.
                    self._go_on()
                    try:
                        await waiting
                    except asyncio.CancelledError:
                        self._leave(waiting)
                        raise
                    if self._has_one:
                        return
                    join = self._line.appendleft  # somebody came in between: it is still the first
        except TimeoutError:
            self._raise_wait_queue_timeout(began)

    def _leave(self, waiting: asyncio.Future[None]) -> None:
        if waiting.cancelled():
            with suppress(ValueError):
                self._line.remove(waiting)
        else:
            self._go_on()  # it was woken, and makes no use of it

    def _seconds_left(self) -> float | None:
        if _csot.get_timeout():
            return max(0.0, _csot.get_deadline() - time.monotonic())
        return self.opts.wait_queue_timeout or None

    def _go_on(self) -> None:
        """Wake who waits longest, where there is one for it."""
        if self._line and self._has_one:
            _wake(self._line.popleft())


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
