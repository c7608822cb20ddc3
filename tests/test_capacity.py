"""The capacity benchmark counts right, whatever the server does; how much it holds is not asked."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest
from aiohttp import web

from benchmarks.capacity import chart, frames, peers, report
from benchmarks.capacity.frames import CLOSE, PING, TEXT, Frames
from benchmarks.capacity.generator import Level, Seen, drive
from benchmarks.capacity.levels import Result, generated
from benchmarks.capacity.search import Found, search
from benchmarks.capacity.targets import started
from benchmarks.capacity.users import ENGINE
from benchmarks.provider import Beat, Connection, question
from benchmarks.report import Missing
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


def seen_at(users: int, *, rate: float = 1.0, gap: float = 0.05, foreign: float = 0.0) -> Result:
    cpu = {"server": 0.5, "provider": 0.1, "generator": 0.1, "foreign": foreign}
    tokens = round(users * 50 * 10 * rate)
    times = (0.01, 0.02), (0.02, gap), (0.001, 0.002)
    return Result(Seen(users, 10.0, tokens, tokens, users, *times, 0, {}, cpu, 1e8, False))


def test_what_is_not_in_real_time_says_why() -> None:
    assert seen_at(50).is_real_time
    assert seen_at(50, rate=0.9, gap=0.3).faults == ["90% of the pace", "gaps of 300 ms"]


def test_the_users_held_are_those_below_the_first_failure() -> None:
    found = Found({50: [seen_at(50)], 100: [seen_at(100, rate=0.5)], 200: [seen_at(200)]})
    assert found.held == 50
    assert Found({50: [seen_at(50, gap=1.0)]}).held == 0


def test_most_passes_decide_and_a_disturbed_one_only_where_all_were() -> None:
    bad, disturbed = seen_at(50, rate=0.5), seen_at(50, rate=0.5, foreign=1.0)
    for passes, held in (
        ([seen_at(50), bad, seen_at(50)], 50),
        ([bad, bad, seen_at(50)], 0),
        ([disturbed, disturbed, seen_at(50)], 50),
        ([disturbed], 0),
    ):
        assert Found({50: passes}).held == held


@pytest.mark.parametrize(
    ("holds", "bisections", "levels"),
    [
        pytest.param(1_000, 2, [50, 200, 400], id="all"),
        pytest.param(310, 0, [50, 200, 400], id="no bisection"),
        pytest.param(370, 2, [50, 200, 400, 600, 300, 350], id="not yet saturated"),
        pytest.param(310, 2, [50, 200, 400, 300, 350], id="between"),
        pytest.param(20, 9, [50, 25, 10, 20], id="below the first"),
    ],
)
def test_a_search_rises_to_the_first_failure_and_looks_far_above_and_below_it(
    holds: int, bisections: int, levels: list[int]
) -> None:
    found = Found()
    for users in search(found, [50, 200, 400], bisections):
        found.results[users] = [seen_at(users, rate=min(1.0, holds / users))]
    assert list(found.results) == levels


def test_the_table_has_what_was_measured_and_names_who_is_left_out() -> None:
    found = {
        "ours": Found({50: [seen_at(50)], 200: [seen_at(200)]}),
        "plain": Found({20: [seen_at(20)], 50: [seen_at(50, rate=0.5)]}),
        "direct": Found({50: [seen_at(50)]}),
    }
    rows = {row.what: row for row in report.rows(found, {"node": "there is no Node with npm"})}
    users = rows["users in real time"]
    assert (users.here, users.floors[0].value) == (200, 20)
    assert users.lines()[1].endswith("bare Node left out: there is no Node with npm")
    assert rows["tokens a second at most"].here == 10_000
    cpu = rows["server CPU for 1,000 tokens, at these users"]
    assert (cpu.here, cpu.floors[0].value, cpu.floors[0].ratio) == (50, 500, 0.1)
    assert rows["200 users: lag of a token, p99"].floors == ()
    assert not rows["tokens lost or doubled"].is_fault
    del found["ours"].results[200]
    assert "200 users: lag of a token, p99" not in {row.what for row in report.rows(found, {})}


def test_the_chart_is_a_picture_of_the_values() -> None:
    drawn = chart.drawn({"Users < all": {"ours": 400.0, "other": 100.0}}, "ours", "a note")
    root = ElementTree.fromstring(drawn)
    name = "{http://www.w3.org/2000/svg}"
    bars = [float(bar.attrib["width"]) for bar in root.iter(f"{name}rect")]
    assert math.isclose(bars[0], 4 * bars[1], rel_tol=0.01)
    texts = [text.text for text in root.iter(f"{name}text")]
    assert texts == ["Users < all", "ours", "400", "other", "100", "a note"]


async def test_a_peer_is_installed_once_and_again_when_its_versions_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(peers, "PEERS", tmp_path / "peers")
    (tmp_path / "peers" / "some").mkdir(parents=True)
    versions = tmp_path / "peers" / "some" / "versions"
    versions.write_text("1")
    count = ["sh", "-c", "echo . >> count"]
    for wanted, installed in (("1", 1), ("1", 1), ("2", 2)):
        versions.write_text(wanted)
        folder = await peers.installed("some", "versions", count)
        assert (folder / "count").read_text().count(".") == installed
    versions.write_text("3")
    with pytest.raises(Missing, match="some could not be installed"):
        await peers.installed("some", "versions", ["false"])
