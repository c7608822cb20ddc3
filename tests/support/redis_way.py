"""The way from one server to a Redis that others reach too, broken for that server alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from tests.support.ports import free_port

SUBSCRIBING = b"SUBSCRIBE\r\n"
"""In what a client sends: SUBSCRIBE, SSUBSCRIBE and PSUBSCRIBE all end with it."""


class RedisWay:
    """Forwards to a port, from ``port``, which stays the same.

    ``cut`` ends what is connected and lets nobody through until ``mend``. ``freeze`` stops what
    is on its way, without a word to either end, until ``thaw``; with ``subscriptions_only`` just
    on the connections that have subscribed so far, so that commands, and a subscription made
    anew, still work.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._is_cut = False
        self._is_frozen = False
        self.port = free_port()
        self.delay = 0.0
        """Seconds that each reply takes longer."""
        self.heard = 0
        """Bytes that have come to connections that subscribe."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def subscriptions(self) -> int:
        """Connections that are subscribed and not frozen."""
        return sum(link.subscribes and link.flows.is_set() for link in self._links)

    def cut(self) -> None:
        self._is_cut = True
        for link in self._links:
            link.end()

    def mend(self) -> None:
        self._is_cut = False

    def freeze(self, *, subscriptions_only: bool = False) -> None:
        self._is_frozen = not subscriptions_only
        for link in self._links:
            if link.subscribes or not subscriptions_only:
                link.flows.clear()

    def thaw(self) -> None:
        """What was stopped goes on where it was."""
        self._is_frozen = False
        for link in self._links:
            link.flows.set()

    async def __aenter__(self) -> RedisWay:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        link = _Link(writer, self._hear, lambda: self.delay)
        self._links.add(link)
        if self._is_frozen:
            link.flows.clear()
        try:
            if not self._is_cut:
                await link.flows.wait()
                there_reader, there = await asyncio.open_connection("127.0.0.1", self._to)
                link.ends.append(there)
                async with asyncio.TaskGroup() as both:
                    both.create_task(link.forward(reader, there))
                    both.create_task(link.forward(there_reader, writer, back=True))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(link)
            link.end()

    def _hear(self, size: int) -> None:
        self.heard += size


class _Link:
    """One connection and its counterpart."""

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        hear: Callable[[int], None],
        delay: Callable[[], float],
    ) -> None:
        self.ends = [writer]
        self._hear = hear
        self._delay = delay
        self.subscribes = False
        self.flows = asyncio.Event()
        self.flows.set()

    async def forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool = False
    ) -> None:
        while data := await reader.read(1 << 16):
            self.subscribes = self.subscribes or (not back and SUBSCRIBING in data.upper())
            if back and self.subscribes:
                self._hear(len(data))
            if back and self._delay():
                await asyncio.sleep(self._delay())
            await self.flows.wait()
            writer.write(data)
            await writer.drain()
        self.end()

    def end(self) -> None:
        self.flows.set()
        for end in self.ends:
            end.transport.abort()
