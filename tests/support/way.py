"""A network between a client and a server, that a test breaks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType


class Way:
    """Forwards to a port, from ``port``. ``cut`` ends what is connected; while it is not ``open``
    nobody gets through, and while it is ``mute`` nothing comes back from the server. While ``lost``
    is set, a connection whose request has those bytes in it is ended instead of answered: the
    request arrives, its reply never does."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.open = True
        self.mute = False
        self.lost: bytes | None = None
        self.losses = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Way:
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
        await self.cut()

    async def cut(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        ends = [writer]
        try:
            if self.open:
                there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
                ends.append(there_writer)
                doomed = asyncio.Event()
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._there(reader, there_writer, doomed))
                    both.create_task(self._back(there_reader, writer, doomed))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in ends:
                end.transport.abort()
                with suppress(OSError):
                    await end.wait_closed()

    async def _there(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        while data := await reader.read(1 << 20):
            if self.lost is not None and self.lost in data:
                doomed.set()
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def _back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        while data := await reader.read(1 << 20):
            if doomed.is_set():
                self.losses += 1
                raise ConnectionResetError("this reply is lost")
            if not self.mute:
                writer.write(data)
                await writer.drain()
        writer.write_eof()
