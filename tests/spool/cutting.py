"""A way to MongoDB on which one request of a database, the n-th, has no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Literal

Lost = Literal["request", "reply"]


class CuttingWay:
    """Counts the requests that name ``database``; probes of the driver's own don't. After
    ``cut_at(n, what)`` the connection of the n-th from then on is cut, before that request has gone
    on ("request") or after ("reply"). Only that one: then all goes on."""

    def __init__(self, port: int, database: str) -> None:
        self._to = port
        self._database = database.encode()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._left = 0
        self._what: Lost = "reply"
        self.has_cut = False
        self.port = 0

    def cut_at(self, n: int, what: Lost) -> None:
        self._left, self._what, self.has_cut = n, what, False

    async def __aenter__(self) -> CuttingWay:
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
        there, forward = await asyncio.open_connection("127.0.0.1", self._to)
        ends = {writer, forward}
        self._ends |= ends
        loses = False

        def keeps(request: bytes) -> bool:
            nonlocal loses
            if self._is_its_turn(request):
                loses = True
                return self._what == "reply"
            return True

        both = [
            asyncio.create_task(_copied(reader, forward, keeps)),
            asyncio.create_task(_copied(there, writer, lambda reply: not loses)),
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for each in both:
            each.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        self._ends -= ends
        for end in ends:
            end.close()
            with suppress(OSError):
                await end.wait_closed()

    def _is_its_turn(self, request: bytes) -> bool:
        if self._database not in request or not self._left:
            return False
        self._left -= 1
        self.has_cut = self._left == 0
        return self.has_cut


async def _copied(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keeps: Callable[[bytes], bool]
) -> None:
    """Until it ends, or something is not to be kept."""
    with suppress(OSError):
        while data := await reader.read(1 << 20):
            if not keeps(data):
                return
            writer.write(data)
            await writer.drain()
