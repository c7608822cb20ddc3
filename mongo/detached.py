"""Collections of PyMongo's own client whose calls go on when the caller leaves.

On Python 3.11 a task that is cancelled while it waits for PyMongo to find a server may leave
PyMongo's lock held for ever (``asyncio.wait_for`` around ``Condition.wait``, cancelled twice), and
then that client never answers again. So nobody's cancellation, or patience, reaches into it.
Motor's calls run in threads, where cancelling takes back what has not begun, and are left as they
are.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from typing import Any


class Detached:
    """A collection or a cursor. What its methods are asked is owned by ``calls``, ends by the
    driver's own time-outs, and is unheard where nobody waits any more."""

    def __init__(self, asked: Any, calls: Calls) -> None:
        self._asked = asked
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._asked, name)
        if not inspect.ismethod(attribute):
            return attribute

        def call(*arguments: Any, **options: Any) -> Any:
            result = attribute(*arguments, **options)
            if inspect.isawaitable(result):
                return self._calls.outcome(result)
            return self._wrapped(result)

        return call

    def _wrapped(self, result: Any) -> Any:
        if result is self._asked:  # a cursor's sort, limit
            return self
        return Detached(result, self._calls) if hasattr(result, "to_list") else result


class Calls:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[Any]] = set()

    async def outcome(self, call: Awaitable[Any]) -> Any:
        task = asyncio.ensure_future(call)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        result = await asyncio.shield(task)
        return Detached(result, self) if hasattr(result, "to_list") else result

    async def ended(self) -> None:
        """Waits for those that are under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: nobody may be there who would
