"""Readers on websockets, in a process of their own, for feeds in this one."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from benchmarks.servers import module
from server.edge.connections import Connection
from server.edge.transport import Reply, Transport

PATIENCE_SECONDS = 60.0


class Audience:
    """``deliver`` is the transport's, and counts."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.connections: list[Connection] = []
        """In the order of their coming."""
        self.readers: Process | None = None
        self.told = 0
        """Events, each as often as there were readers. Raised by who tells them otherwise."""
        transport.dispatch = self._no_call
        transport.on_connected = self._come
        transport.on("connect", self._let_in)

    def deliver(self, event: str, payload: dict[str, Any], sids: list[str]) -> None:
        self.told += len(sids)
        self.transport.deliver(event, payload, sids)

    async def has_heard(self) -> int:
        """Returns when all that was told has been read; how many events came out of place.

        Raises ``AssertionError`` where some never come.
        """
        assert self.readers is not None
        assert self.readers.stdin is not None
        assert self.readers.stdout is not None
        self.readers.stdin.write(f"{self.told}\n".encode())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return int(await self.readers.stdout.readline())
        except TimeoutError:
            raise AssertionError("not all that was told was heard") from None

    def _come(self, sid: str) -> None:
        self.connections.append(Connection(sid, "user", guest=True))

    async def _let_in(self, sid: str, environ: Any, auth: Any) -> None:
        """Anybody."""

    async def _no_call(self, sid: str, name: Any, arguments: tuple[Any, ...]) -> Reply:
        raise AssertionError("these readers call nothing")


@asynccontextmanager
async def audience(size: int) -> AsyncIterator[Audience]:
    """So many readers, each connected, on no feed yet."""
    transport = Transport(cors_origins=())
    gathered = Audience(transport)
    app = web.Application()
    transport.attach(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    port = runner.addresses[0][1]
    try:
        async with module("benchmarks.feed_readers", str(port), str(size)) as running:
            gathered.readers = running.process
            yield gathered
    finally:
        await transport.close()
        await runner.cleanup()
