"""Background tasks with an owner: held, awaited at close, and heard when they die."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Tasks:
    """The tasks of one owner. What raises is logged once, here, at the top of the task."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A background task died.", extra={"task": task.get_name()}, exc_info=error)

    async def settle(self, timeout: float) -> bool:
        """Wait until all have ended by themselves; False when ``timeout`` seconds were too few."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout)
        return not self._tasks

    async def close(self, timeout: float = 5.0) -> None:
        """Cancel what still runs, and wait for its end."""
        for task in self._tasks:
            task.cancel()
        if not await self.settle(timeout):
            names = sorted(task.get_name() for task in self._tasks)
            log.warning("Background tasks did not end.", extra={"tasks": names})


async def again_and_again(work: Callable[[], Awaitable[None]], pause: Callable[[], float]) -> None:
    """``work`` for ever, with ``pause()`` seconds in between. An error is logged and ends nothing:
    what keeps turns alive must outlive a record that it can't read."""
    while True:
        try:
            await work()
        except Exception:
            task = asyncio.current_task()
            log.exception("A background task failed.", extra={"task": task and task.get_name()})
        await asyncio.sleep(pause())
