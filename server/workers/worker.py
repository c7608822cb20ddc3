"""A worker's side of its line to the supervisor."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from server.tasks import Tasks
from server.workers.channel import Channel
from server.workers.place import Place
from server.workers.scrape import merged

log = logging.getLogger(__name__)

# The supervisor waits for the slowest worker, but not so long.
GATHER_SECONDS = 3.0


class Worker:
    """Open from before the start until the end. ``leaving``: the others go on; the port is left."""

    def __init__(self, place: Place, leave: Callable[[], None]) -> None:
        """``leave`` is called when this worker is to drain: the supervisor wants it, or is gone."""
        self._leave = leave
        self.leaving = False
        self.measures: Callable[[], bytes] = bytes
        # The descriptor itself stays ``place``'s, which may say something later than this.
        self._channel = Channel(socket.socket(fileno=os.dup(place.channel)))
        self._number = place.number
        self._keys = itertools.count()
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._tasks = Tasks()

    async def open(self) -> None:
        await self._channel.open()
        self._tasks.start(self._listen(), "line to the supervisor")

    async def close(self) -> None:
        await self._tasks.close()
        self._channel.close()

    def ready(self, force: Mapping[str, str], *, shared: bool) -> None:
        """It takes connections. ``shared``: feeds go through Redis."""
        self._channel.send(ready=dict(force), shared=shared)

    async def _listen(self) -> None:
        async for message in self._channel.messages():
            if "measure" in message:
                self._channel.send(measured=message["measure"], text=self._measured())
            elif "gathered" in message:
                asked = self._asked.pop(message["gathered"], None)
                if asked is not None and not asked.done():
                    asked.set_result(message)
            elif "leave" in message:
                self._drain()
        if not self.leaving:
            log.warning("The supervisor is gone: this worker ends, too.")
        self._drain()

    def _measured(self) -> str:
        try:
            return self.measures().decode()
        except Exception:  # the line must outlive it
            log.exception("This worker can't be measured.")
            return ""

    def _drain(self) -> None:
        self.leaving = True
        self._leave()

    async def gather(self) -> bytes:
        """What all workers measure; of one that does not answer in time only that it does not."""
        key = next(self._keys)
        self._asked[key] = asyncio.get_running_loop().create_future()
        self._channel.send(gather=key)
        texts, restarts = {}, {self._number: 0}
        try:
            answer = await asyncio.wait_for(self._asked[key], GATHER_SECONDS)
            texts = {int(number): text for number, text in answer["texts"].items()}
            restarts = {int(number): count for number, count in answer["restarts"].items()}
        except TimeoutError:
            log.warning("The supervisor does not answer.", extra={"action": "metrics"})
        finally:
            self._asked.pop(key, None)
        texts[self._number] = self.measures().decode()
        return merged(texts, restarts).encode()
