"""Single flight: who wants what is being fetched already waits for that."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from memory.errors import Unavailable
from memory.records import Transcript


class Flights:
    """The loads under way in this process, at most one to join for each conversation.

    A load is a task of its own, so a caller that is cancelled does not take it from the others.
    """

    def __init__(self) -> None:
        self._joinable: dict[str, asyncio.Task[Transcript]] = {}
        self._all: set[asyncio.Task[Transcript]] = set()
        self._closing = False

    def current(self, conversation_id: str) -> asyncio.Task[Transcript] | None:
        return self._joinable.get(conversation_id)

    def start(
        self, conversation_id: str, load: Coroutine[Any, Any, Transcript]
    ) -> asyncio.Task[Transcript]:
        """In place of one that is under way, which those who joined it still wait for."""
        task = asyncio.create_task(self._run(load), name="memory-load")
        self._all.add(task)
        self._joinable[conversation_id] = task

        def landed(task: asyncio.Task[Transcript]) -> None:
            self._all.discard(task)
            if self._joinable.get(conversation_id) is task:
                del self._joinable[conversation_id]
            if not task.cancelled():
                task.exception()  # everybody who waited may have been cancelled

        task.add_done_callback(landed)
        return task

    def detach(self, conversation_id: str) -> None:
        """Something changed: what is under way may miss it, so nobody joins it any more."""
        self._joinable.pop(conversation_id, None)

    async def _run(self, load: Coroutine[Any, Any, Transcript]) -> Transcript:
        try:
            return await load
        except asyncio.CancelledError:
            if self._closing:  # those who wait were not cancelled themselves
                raise Unavailable("the memory is closing") from None
            raise

    async def close(self) -> None:
        """End what is under way; who waits for it gets ``Unavailable``."""
        self._closing = True
        for task in list(self._all):
            task.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)
        self._closing = False
