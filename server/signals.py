"""What servers tell each other through Redis: at once, and to whoever hears it.

A signal makes things quicker, never right: what it says is in the store as well, and a server that
missed it comes to know by its next look there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import orjson

from redislink.link import RedisAway
from server.tasks import Tasks

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], None]


class Channel(Protocol):
    @property
    def connected(self) -> bool: ...

    async def signal(self, message: bytes) -> None:
        """Raises ``RedisAway``."""
        ...

    def listen_to_signals(self, handler: Callable[[bytes], None]) -> None: ...


class Signals:
    """``on`` before ``connect``. ``server`` is this process's name: it does not hear itself."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._handlers: dict[str, Handler] = {}
        self._channel: Channel | None = None
        self._tasks = Tasks()

    def on(self, kind: str, handler: Handler) -> None:
        """``handler`` gets the fields of each signal of this kind; it must not wait."""
        self._handlers[kind] = handler

    def connect(self, channel: Channel) -> None:
        self._channel = channel
        channel.listen_to_signals(self._hear)

    async def close(self) -> None:
        await self._tasks.settle(1.0)
        await self._tasks.close()

    @property
    def connected(self) -> bool:
        """Whether there is anybody to tell."""
        return self._channel is not None and self._channel.connected

    def send(self, kind: str, **fields: Any) -> None:
        """Does not wait. Without Redis nobody is told."""
        if self.connected:
            message = orjson.dumps({"from": self._server, "kind": kind, **fields})
            self._tasks.start(self._send(message), f"signal {kind}")

    async def _send(self, message: bytes) -> None:
        try:
            if self._channel is not None:
                await self._channel.signal(message)
        except RedisAway:
            log.debug("A signal was not sent.")

    def _hear(self, message: bytes) -> None:
        fields = orjson.loads(message)
        if fields.pop("from") == self._server:
            return
        handler = self._handlers.get(fields.pop("kind"))
        if handler is not None:  # else it is of a newer version
            handler(fields)
