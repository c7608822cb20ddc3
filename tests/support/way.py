"""A network between a client and a server, that a test breaks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType


class Way:
    """Forwards to a port, from ``port``. ``cut`` ends what is connected; while it is not ``open``
    nobody gets through, and while it is ``mute`` nothing comes back from the server."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.open = True
        self.mute = False

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
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._forward(reader, there_writer, back=False))
                    both.create_task(self._forward(there_reader, writer, back=True))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            # All before the first wait: a cut that comes during it would leave the others open.
            for end in ends:
                end.transport.abort()
            for end in ends:
                with suppress(OSError):
                    await end.wait_closed()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool
    ) -> None:
        while data := await reader.read(1 << 16):
            if not (back and self.mute):
                writer.write(data)
                await writer.drain()
        writer.write_eof()
