"""Requests that begin and never end, and responses that nobody reads."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
from aiohttp import web

from server.edge import handshakes
from tests.server.edge.served import Served, joined, raw, serving
from tests.support.wait import wait_until

HEAD = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: here\r\n"


async def opened(served: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", served.port)


async def ended_after(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, drip: bytes = b""
) -> float:
    """How long the server bore it. ``drip`` is said again and again meanwhile."""
    begun = time.monotonic()
    async with asyncio.timeout(5):
        while not reader.at_eof():
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(0.05):
                    await reader.read(1000)
                    continue
            with suppress(ConnectionError):
                writer.write(drip)
    writer.close()
    return time.monotonic() - begun


@pytest.mark.parametrize("said", [b"", b"GET / HT", HEAD, b"POST /socket.io/?EIO=4 HTTP/1.1\r\n"])
async def test_a_head_that_never_ends_is_ended(said: bytes) -> None:
    async with serving(handshake_seconds=0.5) as served, joined(served) as other:
        reader, writer = await opened(served)
        writer.write(said)
        drip = b"X-More: 1\r\n" if said.endswith(b"\n") else b""
        assert 0.4 < await ended_after(reader, writer, drip) < 2
        await other.send_str('421["still here"]')
        assert (await other.receive_str()).startswith("431[")


async def test_a_flood_of_handshakes_leaves_nothing() -> None:
    async with serving(handshake_seconds=0.5) as served:
        flood = [await opened(served) for _ in range(200)]
        for _, writer in flood:
            writer.write(HEAD)
        async with raw(served):  # who is honest is served at once
            pass
        await asyncio.gather(*(ended_after(*each) for each in flood))
        assert not served.handshakes._expected
        assert not served.server_connections()


async def test_a_request_in_time_leaves_the_connection_to_further_ones() -> None:
    async with serving(handshake_seconds=0.3) as served:
        reader, writer = await opened(served)
        late = await opened(served)
        for _ in range(2):
            writer.write(b"GET /nowhere HTTP/1.1\r\nHost: here\r\n\r\n")
            assert b" 404 " in await reader.readline()
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(b"404: Not Found"))
            await ended_after(*late)  # one that said nothing; this one is not
        writer.close()


async def test_a_response_that_nobody_reads_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "RESPONSE_SECONDS", 0.3)

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 20_000_000)

    async with serving(routes=[web.get("/large", large)]) as served:
        reader, writer = await opened(served)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n")
        await wait_until(served.server_connections, "it is connected")
        await wait_until(lambda: not served.server_connections(), "it is ended", timeout=3)
        writer.close()


async def test_what_a_peer_does_not_acknowledge_ends_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handshakes, "UNACKNOWLEDGED_SECONDS", 0.5)

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 20_000_000)

    async with serving(routes=[web.get("/large", large)]) as served:
        reader, writer = await opened(served)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n")
        await wait_until(served.server_connections, "it is connected")
        await wait_until(lambda: not served.server_connections(), "it is ended", timeout=8)
        writer.close()


async def test_what_is_no_http_is_answered_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as served:
        for said in (b"\x16\x03\x01garbage\r\n\r\n", b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n"):
            reader, writer = await opened(served)
            writer.write(said)
            assert b" 400 " in await reader.readline()
            writer.close()
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


@pytest.mark.parametrize("key", [b"\xc3\xa9", b"x", b""])
async def test_a_websocket_handshake_that_is_none_is_a_bad_request(key: bytes) -> None:
    async with serving() as served:
        reader, writer = await opened(served)
        writer.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: here\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        assert b" 400 " in await reader.readline()
        assert not served.transport.eio.sockets
        writer.close()
