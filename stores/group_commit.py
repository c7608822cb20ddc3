"""Group commit: the writes that wait go to the store together, each caller gets its own outcome."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from memory.errors import RememberingError, Unavailable

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class GroupCommit(Generic[Item, Outcome]):
    """One write at a time; what arrives meanwhile is the next one. After one of several items the
    next begins at least ``apart`` seconds later than it, and has the more; unless one of its items
    is wanted ``soon``. Where they come one by one nobody waits for others.

    ``write`` takes the items and gives as many outcomes in the same order; an exception among them
    is raised to that item's caller only, one that ``write`` raises to all of them. It must end by
    itself within some seconds: nobody cancels it.
    """

    def __init__(
        self,
        write: Callable[[list[Item]], Awaitable[Sequence[Outcome | Exception]]],
        *,
        most_together: int,
        most_waiting: int,
        patience: float,
        apart: float = 0.0,
    ) -> None:
        self._write = write
        self._most_together = most_together
        self._most_waiting = most_waiting
        self._patience = patience
        self._apart = apart
        self._next_at = 0.0
        """When the next one may begin, by ``time.monotonic()``."""
        self._is_urgent = asyncio.Event()
        self._waiting: deque[tuple[Item, asyncio.Future[Outcome]]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def submit(self, item: Item, *, soon: bool = False) -> Outcome:
        """Write ``item`` together with whatever else waits; its outcome.

        Raises what ``write`` gave for it, or ``Unavailable`` when too much is waiting or nothing
        came in ``patience`` seconds. A caller that is cancelled, or out of patience, takes its item
        back while it waits; once on its way it is written all the same.
        """
        if len(self._waiting) >= self._most_waiting:
            raise Unavailable("Too many writes are waiting for the store.")
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, outcome))
        if soon:
            self._is_urgent.set()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="group-commit")
        try:
            async with asyncio.timeout(self._patience):
                return await outcome
        except TimeoutError as error:
            raise Unavailable("The store did not acknowledge the write in time.") from error

    async def close(self) -> None:
        """Waits until everything submitted has its outcome."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        while self._waiting:
            if (left := self._next_at - time.monotonic()) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._is_urgent.wait()
            self._is_urgent.clear()
            group = self._next_group()
            self._next_at = time.monotonic() + (self._apart if len(group) > 1 else 0.0)
            if not group:
                continue
            try:
                outcomes = await self._write([item for item, _ in group])
            except RememberingError as error:
                outcomes = [error] * len(group)
            except Exception as error:
                log.exception("A group of writes failed", extra={"writes": len(group)})
                outcomes = [error] * len(group)
            for (_, future), outcome in zip(group, outcomes, strict=True):
                _settle(future, outcome)

    def _next_group(self) -> list[tuple[Item, asyncio.Future[Outcome]]]:
        count = min(len(self._waiting), self._most_together)
        taken = [self._waiting.popleft() for _ in range(count)]
        return [(item, future) for item, future in taken if not future.done()]


def _settle(future: asyncio.Future[Outcome], outcome: Outcome | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
