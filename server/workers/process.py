"""One worker as the supervisor has it: a process, and the line to it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

from server.tasks import Tasks
from server.workers.channel import Channel
from server.workers.place import Place

log = logging.getLogger(__name__)


class Process:
    """``start``, then ``ended``. It may be started once."""

    def __init__(
        self,
        number: int,
        *,
        on_ready: Callable[[Process], None],
        on_gather: Callable[[Process, int], None],
    ) -> None:
        self.number = number
        self.force: dict[str, str] = {}
        """What is in force there, once it takes connections."""
        self.shared = False
        self.reason = ""
        """Why it could not start, in its own words."""
        self.leaving = False
        self._on_ready = on_ready
        self._on_gather = on_gather
        self._keys = itertools.count()
        self._asked: dict[int, asyncio.Future[str]] = {}
        self._tasks = Tasks()

    async def start(self, command: Sequence[str], port: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            place = Place(self.number, port, theirs.fileno())
            # In a session of its own: Ctrl+C in a terminal is for the supervisor, which asks each.
            self._process = await asyncio.create_subprocess_exec(
                *command, place.argument, pass_fds=(place.channel,), start_new_session=True
            )
        self._channel = Channel(ours)
        await self._channel.open()
        self._tasks.start(self._listen(), f"line to worker {self.number}")

    @property
    def pid(self) -> int:
        return self._process.pid

    async def _listen(self) -> None:
        async for message in self._channel.messages():
            try:
                self._heard(message)
            except Exception:  # the line must outlive it
                log.exception("What worker %d said could not be taken in.", self.number)
        for asked in self._asked.values():
            asked.cancel()

    def _heard(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            self.force, self.shared = message["ready"], message["shared"]
            self._on_ready(self)
        elif "failed" in message:
            self.reason = message["failed"]
        elif "gather" in message:
            self._on_gather(self, message["gather"])
        elif "measured" in message and (asked := self._asked.pop(message["measured"], None)):
            asked.set_result(message["text"])

    async def measures(self, timeout: float) -> str | None:
        """None where it does not answer in ``timeout`` seconds."""
        key = next(self._keys)
        asked = self._asked[key] = asyncio.get_running_loop().create_future()
        self._channel.send(measure=key)
        await asyncio.wait([asked], timeout=timeout)
        self._asked.pop(key, None)
        return asked.result() if asked.done() and not asked.cancelled() else None

    def gathered(self, key: int, texts: dict[int, str], restarts: dict[int, int]) -> None:
        self._channel.send(gathered=key, texts=texts, restarts=restarts)

    def leave(self) -> None:
        """Drain and end, while others go on with the port."""
        self.leaving = True
        self._channel.send(leave=True)

    def signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self) -> str:
        """How it ended: ``"exit 1"``, ``"SIGKILL"``. All it has said was heard by then."""
        code = await self._process.wait()
        await self._tasks.settle(1.0)
        await self._tasks.close()
        self._channel.close()
        return signal.Signals(-code).name if code < 0 else f"exit {code}"
