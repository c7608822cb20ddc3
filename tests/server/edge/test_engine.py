"""The life of one Engine.IO session: what it may take, and that nothing is left of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from server.edge.transport import Reply
from tests.server.edge.served import (
    Served,
    hear,
    hung_up,
    joined,
    nothing_is_left,
    polling,
    post,
    raw,
    serving,
)
from tests.support.wait import wait_until

# Those that never connect


@pytest.mark.parametrize("said", [[], ['40{"refuse":true}'], ["40", "41"], ["40/elsewhere,"]])
async def test_a_client_that_is_not_connected_in_time_is_ended_and_others_are_not(
    said: list[str],
) -> None:
    async with serving(connect_seconds=0.4) as served, joined(served) as other:
        served.transport.eio.ping_interval = 0.1  # to be answered by those who come now
        async with raw(served) as socket:
            for each in said:
                await socket.send_str(each)
            await hung_up(socket)
        await wait_until(lambda: len(served.transport.eio.sockets) == 1, "it is forgotten")
        await other.send_str('427["still here"]')
        while not (await other.receive_str()).startswith("437["):
            pass


async def test_a_polling_client_that_does_not_connect_is_ended() -> None:
    async with serving(connect_seconds=0.2) as served, polling(served) as (http, url):
        await nothing_is_left(served)
        assert await post(http, url, "40") == 400


# Those that are gone, or as good as gone


async def silent(served: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connected client that says nothing any more; its kernel goes on acknowledging."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: here\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" + b"\x81\x82\0\0\0\0" + b"40"
    )
    await wait_until(lambda: served.sids, "it is connected")
    return reader, writer


async def test_a_ping_that_is_not_answered_ends_the_tcp_connection_in_that_moment() -> None:
    async with serving(quick_pings=True) as served:
        reader, writer = await silent(served)
        with suppress(ConnectionResetError):
            async with asyncio.timeout(2):
                await reader.read()
        assert served.left == served.sids
        await nothing_is_left(served)
        writer.close()


async def test_what_waits_for_a_client_that_is_gone_is_let_go_with_it() -> None:
    async with serving(quick_pings=True) as served:
        reader, writer = await silent(served)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(200):
            served.transport.deliver("much", {"text": "x" * 100_000}, served.sids)
        await nothing_is_left(served)
        writer.close()


async def test_who_leaves_or_is_ended_while_it_connects_leaves_nothing() -> None:
    async with serving(connect_seconds=0.5) as served:
        gate, begun = asyncio.Event(), []

        async def slow(sid: str, environ: Any, auth: Any) -> None:
            begun.append(sid)
            await gate.wait()

        served.transport.on("connect", slow)
        async with raw(served) as leaving:
            await leaving.send_str("40")
            await wait_until(lambda: len(begun) == 1, "it is being connected")
        async with raw(served) as slowly:
            await slowly.send_str("40")
            await hung_up(slowly)
        gate.set()
        await nothing_is_left(served)
        assert served.sids == []


async def test_a_slow_connect_is_no_ping_timeout() -> None:
    async with serving(quick_pings=True) as served, raw(served) as socket:
        pinged = asyncio.Event()

        async def slow(sid: str, environ: Any, auth: Any) -> None:
            # Until it would have been ended twice over.
            await asyncio.sleep(0.9)
            pinged.set()

        served.transport.on("connect", slow)
        await socket.send_str("40")
        heard = []
        while not heard or not heard[-1].startswith("40{"):
            heard.append(await socket.receive_str())
            if heard[-1] == "2":
                await socket.send_str("3")
        assert pinged.is_set()
        assert len(served.sids) == 1


async def test_a_connect_handler_that_fails_leaves_nothing() -> None:
    async with serving() as served:

        async def fails(sid: str, environ: Any, auth: Any) -> None:
            raise ValueError("a mistake")

        served.transport.on("connect", fails)
        async with raw(served) as socket:
            await socket.send_str("40")
            await wait_until(lambda: not served.transport.manager.rooms, "no entry is left")
        await nothing_is_left(served)


# Calls under way


class Gated:
    """Calls that end when they are let."""

    def __init__(self, served: Served) -> None:
        self.begun: list[Any] = []
        self.gate = asyncio.Event()
        served.transport.dispatch = self.answer

    async def answer(self, sid: str, name: Any, arguments: tuple[Any, ...]) -> Reply:
        if name != "quick":
            self.begun.append(name)
            await self.gate.wait()
        return Reply({"name": name})


async def test_a_connection_with_enough_under_way_is_not_read_until_some_have_ended() -> None:
    limits = {"calls_under_way": 2, "quick_pings": True}
    async with serving(**limits) as served, joined(served) as other:
        calls = Gated(served)
        async with joined(served) as socket:
            for number in range(5):
                await socket.send_str(f'42{number}["call {number}"]')
            await other.send_str('421["quick"]')
            while not (await other.receive_str()).startswith("431["):
                pass
            # Its answers to pings are not read meanwhile, and it is not ended for that.
            answering = asyncio.create_task(answers(socket, 5))
            await other_pinged(other, times=8)
            assert calls.begun == ["call 0", "call 1"]
            calls.gate.set()
            assert len(await answering) == 5
            assert not served.left
    await nothing_is_left(served)


async def answers(socket: aiohttp.ClientWebSocketResponse, count: int) -> set[str]:
    heard: set[str] = set()
    async with asyncio.timeout(5):
        while len(heard) < count:
            text = await socket.receive_str()
            if text == "2":
                await socket.send_str("3")
            elif text.startswith("43"):
                heard.add(text)
    return heard


async def other_pinged(other: aiohttp.ClientWebSocketResponse, *, times: int) -> None:
    for _ in range(times):
        while await other.receive_str() != "2":
            pass
        await other.send_str("3")


async def test_a_polling_client_with_enough_under_way_waits_for_its_next_post() -> None:
    async with serving(calls_under_way=2) as served, polling(served) as (http, url):
        calls = Gated(served)
        assert await post(http, url, "40") == 200
        batch = "\x1e".join(f'42{number}["call {number}"]' for number in range(5))
        posting = asyncio.create_task(post(http, url, batch))
        await wait_until(lambda: len(calls.begun) == 2, "two calls have begun")
        await hear(http, url, 2)  # CONNECT, session
        assert len(calls.begun) == 2
        assert not posting.done()
        calls.gate.set()
        assert await posting == 200
        assert len(await hear(http, url, 5)) == 5


async def test_who_asks_and_asks_and_reads_nothing_is_cut_off() -> None:
    asking = f'421["{"x" * 2000}"]'  # it is answered with that
    async with serving(outbox_bytes=100_000) as served, raw(served) as socket:
        await socket.send_str("40")
        with suppress(ConnectionError):
            for _ in range(100_000):
                await socket.send_str(asking)
        assert served.transport.slow_readers == 1
        await nothing_is_left(served)


# All of it, again and again


async def test_connections_of_all_kinds_leave_nothing() -> None:
    async def never(served: Served) -> None:
        async with raw(served):
            pass

    async def halfway(served: Served) -> None:
        async with raw(served) as socket:
            await socket.send_str("40")

    async def refused(served: Served) -> None:
        async with raw(served) as socket:
            await socket.send_str('40{"refuse":true}')

    async def binary(served: Served) -> None:
        async with joined(served) as socket:
            await socket.send_str('452-["never complete",{"_placeholder":true,"num":0}]')
            await socket.send_bytes(b"x" * 1000)

    async def calling(served: Served) -> None:
        async with joined(served) as socket:
            await socket.send_str('421["call"]')
            await socket.send_str('43999["nobody asked"]')
            await socket.send_str("41")

    async def aborted(served: Served) -> None:
        async with joined(served) as socket:
            assert socket._response.connection is not None
            transport = socket._response.connection.transport
            assert transport is not None
            transport.abort()

    async def polled(served: Served) -> None:
        async with polling(served) as (http, url):
            await post(http, url, "40")
            await post(http, url, "1")

    async def twice_polled(served: Served) -> None:
        """Two polls at once, then an upgrade: the end must reach whoever still waits for it."""
        async with polling(served) as (http, url):
            polls = [asyncio.create_task(http.get(url)) for _ in range(2)]
            await asyncio.sleep(0.1)
            async with http.ws_connect(url.replace("polling", "websocket")) as socket:
                await socket.send_str("2probe")
                assert await socket.receive_str() == "3probe"
                await socket.send_str("5")
                await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(polls)

    kinds: list[Callable[[Served], Awaitable[None]]] = [
        *(never, halfway, refused, binary, calling, aborted, polled, twice_polled)
    ]
    async with serving() as served:
        for _ in range(5):
            await asyncio.gather(*(kind(served) for kind in kinds * 3))
        await nothing_is_left(served)
        assert len(served.left) == len(served.sids)
        assert await served.transport.eio.tasks.settle(3), "nobody waits for what will not come"


async def test_a_websocket_that_is_named_and_not_asked_for_is_refused() -> None:
    """Its Connection header does not say Upgrade."""
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        head = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: here\r\n"
        writer.write(f"{head}Connection: keep-alive\r\nUpgrade: websocket\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        writer.close()
        await writer.wait_closed()
        await nothing_is_left(served)


async def test_a_client_that_says_connect_again_and_again_is_ended() -> None:
    """Each costs looking at a token."""
    async with serving() as served, raw(served) as socket:
        for _ in range(30):
            await socket.send_str("40")
            await socket.send_str("41")
        await hung_up(socket)
        assert len(served.sids) == 10
        await nothing_is_left(served)
