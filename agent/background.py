"""Work in the background after a turn's end: bounded, owned, and ended with its owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from agent.errors import AnswerFailed
from memory.errors import RememberingError

log = logging.getLogger(__name__)

# It is done by the same provider as answers: a few at a time leave room for those.
MAX_RUNNING = 4

# Beyond this, work is turned away: whoever asks for it asks again at the next turn's end.
MAX_WAITING = 200


class Background:
    """One piece of work a key at a time, a few at once. No answer ever waits for it."""

    def __init__(
        self,
        action: str,
        failed: str,
        *,
        key: str = "conversation_id",
        max_running: int = MAX_RUNNING,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """``action`` names it in log lines; ``failed`` is what they say of a provider or a store
        that could not be had: one sentence, with what is left as it was. ``key`` is what the
        keys are, by their name in log lines."""
        self._action = action
        self._key = key
        self._failed = failed
        self._bound = max_running + max_waiting
        self._slots = asyncio.Semaphore(max_running)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closing = False

    @property
    def idle(self) -> bool:
        return not self._tasks

    def holds(self, key: str) -> bool:
        """Whether something under this key waits or runs. False as soon as its work has returned:
        there is no moment in which it would neither look again nor let another begin."""
        return key in self._tasks

    def start(self, key: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Run ``work`` when there is room. Returns at once; False where it was turned away: there
        is too much, or something under this key waits or runs already."""
        if self._closing or len(self._tasks) >= self._bound or key in self._tasks:
            return False
        task = asyncio.create_task(self._run(key, work))
        self._tasks[key] = task
        task.add_done_callback(lambda ended: self._over(key, ended))
        return True

    async def close(self) -> None:
        """End what runs and what waits; nothing begins any more."""
        self._closing = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _over(self, key: str, task: asyncio.Task[None] | None) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]

    async def _run(self, key: str, work: Callable[[], Awaitable[None]]) -> None:
        extra = {"action": self._action, self._key: key}
        try:
            async with self._slots:
                await work()
        except (AnswerFailed, RememberingError) as error:
            log.warning(self._failed, extra={**extra, "error": type(error).__name__})
        except Exception:
            log.exception("Work in the background failed.", extra=extra)
        finally:
            self._over(key, asyncio.current_task())
