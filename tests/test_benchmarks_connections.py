"""The silent clients count right: who got in, who was refused, whose pings are answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from benchmarks.silent_clients import Clients, frames
from tests.support.wait import wait_until

TEXTS = [b"0{}", b"2", b"x" * 125, b"y" * 126, b"z" * 70_000, b""]


def sent(text: bytes) -> bytes:
    """As a server frames it."""
    if len(text) < 126:
        return bytes((0x81, len(text))) + text
    if len(text) < 65_536:
        return bytes((0x81, 126)) + len(text).to_bytes(2, "big") + text
    return bytes((0x81, 127)) + len(text).to_bytes(8, "big") + text


@pytest.mark.parametrize("size", [1, 3, 1_000, 1_000_000])
def test_frames_are_found_however_they_are_joined_or_torn(size: int) -> None:
    wire, waiting, found = b"".join(map(sent, TEXTS)), bytearray(), []
    for start in range(0, len(wire), size):
        waiting += wire[start : start + size]
        found += [text for _, text in frames(waiting)]
    assert found == TEXTS
    assert not waiting


class Server:
    """As much of Engine.IO as silent clients need. What they answer is in ``heard``."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.compressed: list[bool] = []

    async def serve(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        self.compressed.append(bool(socket.compress))
        await socket.send_str("0{}")
        async for message in socket:
            self.heard.append(message.data)
            if message.data == "40":
                await socket.send_str('40{"sid":"one"}')
                await socket.send_str('42["session",{}]')
        return socket

    async def ping(self) -> None:
        for socket in self.sockets:
            await socket.send_str("2")


async def refuse(request: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


async def refuse_later(request: web.Request) -> web.StreamResponse:
    """After the handshake, as Socket.IO does."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str("0{}")
    await socket.receive()
    await socket.send_str('44{"message":"no"}')
    await socket.receive()
    return socket


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def clients_of(handler: Handler, *, compression: bool = True) -> AsyncIterator[Clients]:
    app = web.Application()
    app.router.add_get("/socket.io/", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    clients = Clients(runner.addresses[0][1], offers_compression=compression)
    try:
        yield clients
    finally:
        await clients.drop()
        await runner.cleanup()


@pytest.mark.parametrize("compression", [True, False])
async def test_each_is_let_in_once_and_answers_its_pings(compression: bool) -> None:
    server = Server()
    async with clients_of(server.serve, compression=compression) as clients:
        await clients.connect(5, 2)
        assert server.compressed == [compression] * 5
        state = clients.state()
        assert (state["connected"], state["pings"], state["unasked"]) == (5, 0, 5)
        await server.ping()
        await wait_until(lambda: server.heard.count("3") == 5, "the pings are answered")
        await server.ping()
        await wait_until(lambda: clients.state()["pings"] == 10, "both pings are heard")
        state = clients.state()
        assert (state["connected"], state["unasked"]) == (5, 0)
        assert (state["refused"], state["dropped"]) == (0, 0)


async def test_who_is_cut_off_is_missed() -> None:
    server = Server()
    async with clients_of(server.serve) as clients:
        await clients.connect(3, 3)
        await server.sockets[0].close()
        await wait_until(lambda: clients.state()["dropped"] == 1, "one is missed")
        assert clients.state()["connected"] == 2


@pytest.mark.parametrize("handler", [refuse, refuse_later])
async def test_who_is_refused_is_not_among_the_connected(handler: Handler) -> None:
    async with clients_of(handler) as clients:
        await clients.connect(4, 2)
        state = clients.state()
        assert (state["connected"], state["refused"], state["dropped"]) == (0, 4, 0)
