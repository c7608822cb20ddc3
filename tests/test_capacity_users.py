"""The users of the capacity benchmark see what a server does wrong; their provider keeps going."""

from __future__ import annotations

import asyncio
import json
import logging
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import web

from benchmarks.capacity import frames
from benchmarks.capacity.frames import CLOSE, PING, TEXT, Frames
from benchmarks.capacity.generator import Level, Seen, drive
from benchmarks.capacity.levels import generated
from benchmarks.capacity.tally import Reading, Tally
from benchmarks.capacity.targets import started
from benchmarks.capacity.users import ENGINE
from benchmarks.provider import Beat, Connection, question
from benchmarks.tokens import stamped
from tests.support.mongod import require_mongod
from tests.support.redis_server import redis_server_binary
from tests.support.wait import wait_until

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
DEFLATED = UPGRADED[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate%s\r\n\r\n"


def sent(payload: bytes, first: int = 0x80 | TEXT) -> bytes:
    """A server's frame."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def heard(data: bytes, pieces_of: int) -> list[tuple[int, bytes]]:
    reader = Frames()
    found = []
    for start in range(0, len(data), pieces_of):
        found += reader.feed(data[start : start + pieces_of])
    return found


@pytest.mark.parametrize("pieces_of", [1, 2, 3, 7, 1_000, 1_000_000])
def test_messages_are_found_however_their_bytes_are_cut(pieces_of: int) -> None:
    texts = [b"", b"2", b"x" * 125, b"y" * 126, b"\x00\x81" * 150, b"z" * 70_000, b"end"]
    data = UPGRADED + b"".join(map(sent, texts))
    assert heard(data, pieces_of) == [(TEXT, text) for text in texts]


@pytest.mark.parametrize("pieces_of", [1, 5, 1_000])
def test_a_message_in_fragments_is_one_also_with_a_ping_between(pieces_of: int) -> None:
    data = UPGRADED + sent(b"a", TEXT) + sent(b"?", 0x80 | PING) + sent(b"b", 0) + sent(b"c", 0x80)
    data += sent(b"d") + sent(b"\x03\xe8", 0x80 | CLOSE)
    expected = [(PING, b"?"), (TEXT, b"abc"), (TEXT, b"d"), (CLOSE, b"\x03\xe8")]
    assert heard(data, pieces_of) == expected


@pytest.mark.parametrize("option", [b"", b"; server_no_context_takeover"])
@pytest.mark.parametrize("pieces_of", [1, 1_000])
def test_what_is_compressed_is_inflated(option: bytes, pieces_of: int) -> None:
    texts = [b"the same words", b"and the same words", b"the same words again"]
    data, packer = DEFLATED % option, zlib.compressobj(wbits=-15)
    for text in texts:
        if option:
            packer = zlib.compressobj(wbits=-15)
        packed = (packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(
            b"\x00\x00\xff\xff"
        )
        data += sent(packed[:5], 0x40 | TEXT) + sent(packed[5:], 0x80)
    data += sent(b"plain")
    assert heard(data, pieces_of) == [(TEXT, text) for text in [*texts, b"plain"]]


def test_a_server_that_opens_no_websocket_is_named() -> None:
    with pytest.raises(frames.Refused, match="429 Too Many Requests"):
        Frames().feed(b"HTTP/1.1 429 Too Many Requests\r\n\r\n")


@pytest.mark.parametrize("size", [0, 125, 126, 65_535])
async def test_what_a_user_sends_is_understood(size: int) -> None:
    came: asyncio.Queue[str] = asyncio.Queue()

    async def listen(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            came.put_nowait(message.data)
        return socket

    async with serving(listen, "/") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        text = "x" * size
        writer.write(frames.request("/", port) + frames.frame(text.encode()))
        assert await asyncio.wait_for(came.get(), 5) == text
        assert Frames().feed(await reader.read(65_536)) == []
        writer.close()


@asynccontextmanager
async def serving(handler, path: str) -> AsyncIterator[int]:  # type: ignore[no-untyped-def]
    app = web.Application()
    app.router.add_get(path, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


TOKENS = 6
RIGHT = list(range(TOKENS))


def says(*pieces: list[int]):  # type: ignore[no-untyped-def]
    """A server that answers every question with these tokens, a piece an event."""

    async def chat(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str('0{"sid":"x"}')
        async for message in socket:
            if message.data == "40":
                await socket.send_str('40{"sid":"y"}')
                await socket.send_str("2")
            elif message.data == "3":
                continue
            else:
                assert orjson.loads(message.data[2:]) == ["message", question(TOKENS)]
                for piece in pieces:
                    text = "".join(map(stamped, piece))
                    await socket.send_str("42" + json.dumps(["token", text]))
                await asyncio.sleep(0.01)  # or it would answer all the time
                await socket.send_str('42["end"]')
        return socket

    return chat


async def seen(handler, **fields: object) -> Seen:  # type: ignore[no-untyped-def]
    async with serving(handler, ENGINE) as port:
        level = Level("plain", port, users=3, tokens=TOKENS, ramp=0.05, window=0.3)
        return await drive(level)


@pytest.mark.parametrize(
    ("pieces", "wrong"),
    [
        pytest.param([[index] for index in RIGHT], 0, id="one by one"),
        pytest.param([[0, 1, 2], [3, 4, 5]], 0, id="joined"),
        pytest.param([[0, 1, 3, 4, 5]], 1, id="one lost"),
        pytest.param([[0, 1, 2, 3, 4]], 1, id="the last lost"),
        pytest.param([[0, 1, 2], [2, 3, 4, 5]], 1, id="one doubled"),
        pytest.param([[0, 2, 1, 3, 4, 5]], 2, id="two swapped"),
        pytest.param([], TOKENS, id="all lost"),
    ],
)
async def test_a_lost_or_doubled_token_is_noticed_in_every_answer(
    pieces: list[list[int]], wrong: int
) -> None:
    found = await seen(says(*pieces))
    assert found.answers > 3
    assert (found.wrong, found.errors) == (wrong * found.answers, {})
    assert (found.tokens > 0) == bool(pieces)
    if len(pieces) == 2:
        assert found.deliveries < found.tokens


def test_only_the_window_is_measured_but_what_is_wrong_counts_always() -> None:
    tally = Tally()
    before = Reading(TOKENS, tally)
    before.add(stamped(0))
    tally.is_open = True
    before.add(stamped(1))
    within = Reading(TOKENS, tally)
    before.add(stamped(2) + stamped(3))
    tally.is_open = False
    within.add(stamped(0))
    before.add(stamped(4))
    before.end()
    # One gap began in the window's middle, and one at its end; the first is of who asked in it.
    counted = tally.tokens, tally.deliveries, len(tally.lags), len(tally.gaps), len(tally.firsts)
    assert counted == (3, 2, 3, 2, 1)
    assert (tally.answers, tally.wrong) == (1, 1)


async def test_a_server_that_hangs_up_or_lets_nobody_in_is_an_error() -> None:
    async def hangs_up(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str('0{"sid":"x"}')
        await socket.receive()
        await socket.send_str('40{"sid":"y"}')
        await socket.receive()
        return socket

    async def refuses(request: web.Request) -> web.Response:
        return web.Response(status=503)

    assert (await seen(hangs_up)).errors == {"the server ended the connection": 3}
    [error] = (await seen(refuses)).errors
    assert "503 Service Unavailable" in error


async def test_a_level_of_each_server_is_whole_and_says_what_it_used() -> None:
    redis_server_binary()
    require_mongod()
    async with started(["ours", "plain", "direct"]) as targets:
        assert not targets.missing
        for name, target in targets.running.items():
            pids = targets.pids(target)
            level = Level(target.user, target.port, 20, tokens=20, ramp=0.4, window=1.5, pids=pids)
            found = await generated(level)
            assert (found.wrong, found.errors) == (0, {}), name
            assert found.answers >= 20
            assert 20 < found.tokens <= 20 * 50 * 2 * found.seconds
            assert 0 < found.lags[0] <= found.lags[1]
            assert {"provider", "generator", "foreign"} <= found.cpu.keys()
            assert ("redis" in found.cpu) == ("mongod" in found.cpu) == (name == "ours")
            assert (found.resident > 0) == (name != "direct")
            assert found.deflates == (name == "plain")


async def test_a_connection_that_was_cut_ends_its_stream_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    beat, made = Beat(0.002), list[Connection]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: made.append(Connection(beat)) or made[-1], port=0)
    with caplog.at_level(logging.WARNING):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        body = json.dumps({"content": question(1_000)}).encode()
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await reader.readuntil(stamped(0)[:6].encode())
        writer.transport.abort()
        await wait_until(lambda: beat.streams == 0, "the stream is forgotten")
    server.close()
    assert caplog.records == []
