"""A transport that is served in this process, and clients without a library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import socketio
from aiohttp import web

from server.edge.handshakes import Handshakes, Runner
from server.edge.transport import Reply, Transport
from tests.support.wait import wait_until

POLLING = "/socket.io/?EIO=4&transport=polling"


class Served:
    """A transport on a free port; every call is answered with its name and arguments."""

    def __init__(self, **limits: Any) -> None:
        self.transport = Transport(cors_origins=(), **limits)
        self.transport.dispatch = self.answer
        self.transport.on_connected = self.connected
        self.sids: list[str] = []
        self.left: list[str] = []
        self.port = 0
        self.handshakes = Handshakes(0)
        self.server_connections: Callable[[], list[Any]] = list
        """The HTTP server's, websockets and others."""
        self.transport.on("connect", self.connecting)
        self.transport.on("disconnect", self.disconnected)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connecting(self, sid: str, environ: Any, auth: Any) -> None:
        if auth and auth.get("refuse"):
            raise socketio.exceptions.ConnectionRefusedError("no", {"code": "unauthorized"})

    async def disconnected(self, sid: str, reason: str) -> None:
        self.left.append(sid)

    def connected(self, sid: str) -> None:
        self.sids.append(sid)
        self.transport.deliver("session", {"first": True}, [sid])

    async def answer(self, sid: str, name: Any, arguments: tuple[Any, ...]) -> Reply:
        def then() -> None:
            self.transport.deliver("after", {"n": 1}, [sid])
            self.transport.deliver("after", {"n": 2}, [sid])

        return Reply({"name": name, "arguments": list(arguments)}, then)


@asynccontextmanager
async def serving(
    *,
    handshake_seconds: float = 0,
    quick_pings: bool = False,
    routes: Iterable[web.RouteDef] = (),
    **limits: Any,
) -> AsyncIterator[Served]:
    """Quick pings come after 0.1 s, and must be answered within 0.3 s."""
    served = Served(**limits)
    if quick_pings:
        served.transport.eio.ping_interval, served.transport.eio.ping_timeout = 0.1, 0.3
    served.handshakes = Handshakes(handshake_seconds)
    app = web.Application(middlewares=[served.handshakes.limit])
    app.add_routes(routes)
    served.transport.attach(app)
    runner = Runner(app, served.handshakes, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    aiohttps = web.AppRunner.server.fget(runner)  # type: ignore[attr-defined]
    served.server_connections = lambda: aiohttps.connections
    served.port = runner.addresses[0][1]
    try:
        yield served
    finally:
        await served.transport.close()
        await runner.cleanup()


@asynccontextmanager
async def raw(served: Served) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A websocket that has sent nothing yet; engine.io's open packet is read."""
    url = f"{served.url}/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        assert (await socket.receive_str()).startswith("0{")
        yield socket


@asynccontextmanager
async def joined(served: Served) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with raw(served) as socket:
        await socket.send_str("40")
        assert (await socket.receive_str()).startswith("40{")
        assert await socket.receive_str() == '42["session",{"first":true}]'
        yield socket


def left_over(served: Served) -> dict[str, Any]:
    """Whatever the library, and we, still know of any client."""
    transport, manager = served.transport, served.transport.manager
    tables = {
        "sockets": transport.eio.sockets,
        "environ": transport.environ,
        "binary": transport._binary_packet,
        "rooms": manager.rooms,
        "pending": manager.pending_connect,
        "leaving": manager.pending_disconnect,
        "callbacks": manager.callbacks,
        "tasks": transport.eio.tasks._tasks,
        "calls": transport._calls._tasks,
    }
    return {name: table for name, table in tables.items() if table}


async def nothing_is_left(served: Served) -> None:
    await wait_until(lambda: not left_over(served), "nothing is left", timeout=5)


async def hung_up(socket: aiohttp.ClientWebSocketResponse, *, timeout: float = 3.0) -> None:
    """Wait until the server ends it; pings are answered meanwhile."""
    async with asyncio.timeout(timeout):
        while not socket.closed:
            message = await socket.receive()
            if message.data == "2":
                await socket.send_str("3")


@asynccontextmanager
async def polling(served: Served) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A session by polling, which has not said CONNECT, and its URL."""
    async with aiohttp.ClientSession() as http:
        async with http.get(served.url + POLLING) as answer:
            sid = json.loads((await answer.text())[1:])["sid"]
        yield http, f"{served.url}{POLLING}&sid={sid}"


async def post(http: aiohttp.ClientSession, url: str, body: Any) -> int:
    async with http.post(url, data=body) as answer:
        await answer.read()
        return answer.status


async def hear(http: aiohttp.ClientSession, url: str, count: int) -> list[str]:
    """So many packets, by as many polls as it takes."""
    packets: list[str] = []
    while len(packets) < count:
        async with http.get(url) as answer:
            assert answer.status == 200
            packets += (await answer.text()).split("\x1e")
    return packets
