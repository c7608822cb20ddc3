"""A way to a server on which replies get lost, a request is held up, or all of it disappears."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType


class LossyWay:
    """Forwards to a port. While ``lost`` is set, a connection whose request has those bytes in it
    is cut instead of answered. While ``held`` is set, such a request stays here until ``let_go``;
    ``is_holding`` tells when there is one. While it ``swallows``, connections are taken and stay
    open, and nothing gets through; one of which something was swallowed is dead for good."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.lost: bytes | None = None
        self.losses = 0
        self.held: bytes | None = None
        self.swallows = False
        self.is_holding = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __aenter__(self) -> LossyWay:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for end in self._ends:
            end.close()
        await asyncio.gather(*self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:  # nobody there: as if they had been refused themselves
            writer.transport.abort()
            return
        ends = {writer, there_writer}
        self._ends |= ends
        with suppress(OSError):
            await self._forward(reader, writer, there_reader, there_writer)
        self._ends -= ends
        for end in ends:
            end.close()
            with suppress(OSError):
                await end.wait_closed()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there_reader: asyncio.StreamReader,
        there_writer: asyncio.StreamWriter,
    ) -> None:
        cut = dead = False

        async def requests() -> None:
            nonlocal cut, dead
            while request := await reader.read(1 << 20):
                dead = dead or self.swallows
                if dead:
                    continue
                cut = cut or (self.lost is not None and self.lost in request)
                if self.held is not None and self.held in request:
                    self.is_holding.set()
                    await self.let_go.wait()
                there_writer.write(request)
                await there_writer.drain()

        async def replies() -> None:
            nonlocal dead
            while reply := await there_reader.read(1 << 20):
                dead = dead or self.swallows
                if dead:
                    continue
                if cut:
                    self.losses += 1
                    return
                writer.write(reply)
                await writer.drain()

        both = [asyncio.create_task(requests()), asyncio.create_task(replies())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
