"""What is to be done about a log in the background: again and again, for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from memory.errors import NotFound, RememberingError
from redislink.link import RedisAway
from server.tasks import Tasks

log = logging.getLogger(__name__)

Step = Literal["ready", "refill", "restore", "rejoin", "renew"]
STEPS: tuple[Step, ...] = ("ready", "refill", "restore", "rejoin", "renew")
"""Have a log; read what was not heard; put back what Redis has lost; take up what is there; begin
anew. Each does what those before it would."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds between tries, doubling. Neither Redis nor the store may answer for a while."""


class Mending:
    """``steps`` are the works; ``then`` is called when nothing is left to do."""

    def __init__(
        self,
        name: str,
        steps: Mapping[Step, Callable[[], Awaitable[None]]],
        tasks: Tasks,
        then: Callable[[], None],
    ) -> None:
        self._name = name
        self._steps = steps
        self._tasks = tasks
        self._then = then
        self._wanted: Step | None = None
        self._losses = 0
        self._is_closed = False
        self.is_at_work = False

    def want(self, step: Step) -> None:
        if self._wanted is None or STEPS.index(step) > STEPS.index(self._wanted):
            self._wanted = step
        if not self.is_at_work and not self._is_closed:
            self.is_at_work = True
            self._tasks.start(self._work(), f"feed {self._name}")

    def lost(self) -> None:
        """The log lacks something. If that is so again at once, each try waits longer."""
        self._losses += 1
        self.want("renew")

    def went_well(self) -> None:
        self._losses = 0

    def close(self) -> None:
        self._is_closed = True

    async def _work(self) -> None:
        pause = FIRST_PAUSE
        about = {"conversation_id": self._name}
        try:
            while (step := self._wanted) is not None and not self._is_closed:
                self._wanted = None
                if self._losses > 1:
                    await asyncio.sleep(
                        min(FIRST_PAUSE * 2 ** min(self._losses, 10), LONGEST_PAUSE)
                    )
                try:
                    await self._steps[step]()
                except NotFound:
                    return
                except Exception as error:  # the top of a task that must not end
                    if not isinstance(error, RememberingError | RedisAway):
                        log.exception("A feed can't be mended.", extra=about | {"step": step})
                        step = "renew"
                    log.debug("A feed waits.", extra=about | {"step": step, "error": str(error)})
                    self._wanted = self._wanted or step
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self.is_at_work = False
        self._then()
