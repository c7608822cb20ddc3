"""What is mended in python-socketio, held against the installed version."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import socketio

from server.edge.transport import Reply, WireJson
from tests.server.edge.served import Served, joined, raw, serving
from tests.support.wait import wait_until


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(outbox_bytes=4_000_000) as served:
        yield served


async def test_the_first_event_follows_the_connect_answer(served: Served) -> None:
    async with joined(served):
        assert len(served.sids) == 1


async def test_what_follows_an_answer_comes_after_it_and_in_order(served: Served) -> None:
    async with joined(served) as socket:
        await socket.send_str('427["some:call",{"a":1}]')
        assert await socket.receive_str() == '437[{"name":"some:call","arguments":[{"a":1}]}]'
        assert await socket.receive_str() == '42["after",{"n":1}]'
        assert await socket.receive_str() == '42["after",{"n":2}]'


async def test_events_of_any_size_come_whole_and_in_order_past_the_queue_and_through_it(
    served: Served,
) -> None:
    """What goes straight to the wire, and what is queued because something is before it."""
    sizes = [0, 1, 90, 91, 92, 93, 94, 200, 65_000, 65_500, 65_510, 65_520, 65_536, 200_000, 3]
    async with joined(served) as socket:
        [sid] = served.sids
        for burst in range(3):
            for size in sizes:
                served.transport.deliver("event", {"burst": burst, "text": "ü" * size}, [sid])
                if burst == 1:
                    await asyncio.sleep(0)
                elif burst == 2:
                    await asyncio.sleep(0.01)
        for burst in range(3):
            for size in sizes:
                name, payload = json.loads((await socket.receive_str())[2:])
                assert (name, payload["burst"], len(payload["text"])) == ("event", burst, size)


@pytest.mark.parametrize(
    "packet",
    ["427[]", "427{}", "427[7]", '427[["x"]]', '427[{"x":1},2]', "427[null]", "427"],
)
async def test_a_call_without_a_proper_name_is_answered(served: Served, packet: str) -> None:
    async with joined(served) as socket:
        await socket.send_str(packet)
        assert (await socket.receive_str()).startswith("437[{")
        assert len(served.left) == 0


@pytest.mark.parametrize(
    "packet", ["4", "49", "4abc", '42["x"', "42" + "[" * 100_000, '4/other,["x"]', "451-[", "9"]
)
async def test_garbage_leaves_the_connection_or_ends_it_but_hurts_nobody_else(
    served: Served, packet: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with joined(served) as other, joined(served) as socket:
        await socket.send_str(packet)
        await other.send_str('421["hello"]')
        assert (await other.receive_str()).startswith("431[")
    await wait_until(lambda: len(served.left) == 2, "both have left")


async def test_the_connection_is_not_compressed(served: Served) -> None:
    url = f"{served.url}/socket.io/?EIO=4&transport=websocket"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, compress=15) as socket,
    ):
        assert socket.compress == 0


async def test_a_refused_client_hears_why_and_leaves_nothing_behind(served: Served) -> None:
    async with raw(served) as socket:
        await socket.send_str('40{"refuse":true}')
        answer = await socket.receive_str()
        assert answer.startswith("44")
        assert json.loads(answer[2:])["data"] == {"code": "unauthorized"}
    manager = served.transport.manager
    await wait_until(lambda: not served.transport.eio.sockets, "the socket is gone")
    assert not manager.pending_connect.get("/")
    assert served.sids == []


async def test_a_dropped_client_gets_what_was_queued_and_comes_back_by_itself(
    served: Served,
) -> None:
    client = socketio.AsyncClient(reconnection_delay=0.05, randomization_factor=0)
    heard: list[dict[str, Any]] = []
    client.on("last words", heard.append)
    await client.connect(served.url, transports=["websocket"])
    [sid] = served.sids
    served.transport.deliver("last words", {"bye": 1}, [sid])
    served.transport.drop(sid)
    await wait_until(lambda: len(served.sids) == 2, "the client is back")
    assert heard == [{"bye": 1}]
    assert served.left == [sid]
    await client.disconnect()


async def test_closing_is_quick_even_with_a_client_that_does_not_answer(served: Served) -> None:
    async with joined(served), joined(served):
        # These clients read nothing any more, so they never answer the closing handshake.
        begun = time.monotonic()
        await served.transport.close()
        assert time.monotonic() - begun < 5


async def test_a_client_that_does_not_read_is_cut_off_and_costs_bounded_memory(
    served: Served,
) -> None:
    async with joined(served), joined(served) as reader:
        stalled, reading = served.sids
        event = {"text": "x" * 100_000}
        for number in range(200):
            if not served.transport.eio.sockets or stalled in served.left:
                break
            served.transport.deliver("much", event, [stalled])
            served.transport.deliver("little", {"n": number}, [reading])
            await asyncio.sleep(0)  # the writers' turn
        await wait_until(lambda: stalled in served.left, "the stalled client is cut off")
        assert await reader.receive_str() == '42["little",{"n":0}]'
        assert reading not in served.left
    queued = [len(socket.queue._queue) for socket in served.transport.eio.sockets.values()]
    assert sum(queued) < 10


async def test_a_client_that_began_with_polling_is_cut_off_and_disturbs_nobody(
    served: Served,
) -> None:
    # Each request on a connection of its own, so that the handshake's is gone.
    closing = aiohttp.TCPConnector(force_close=True)
    async with joined(served) as reader, aiohttp.ClientSession(connector=closing) as http:
        polling = f"{served.url}/socket.io/?EIO=4&transport=polling"
        async with http.get(polling) as opened:
            session = json.loads((await opened.text())[1:])["sid"]
        async with http.post(f"{polling}&sid={session}", data="40"):
            pass
        async with http.get(f"{polling}&sid={session}"):
            pass
        upgraded = f"{served.url}/socket.io/?EIO=4&transport=websocket&sid={session}"
        async with http.ws_connect(upgraded) as slow:
            await slow.send_str("2probe")
            assert await slow.receive_str() == "3probe"
            await slow.send_str("5")
            reading, stalled = served.sids
            sent = 0
            for sent in range(200):
                if stalled in served.left:
                    break
                served.transport.deliver("much", {"text": "x" * 100_000}, [stalled])
                served.transport.deliver("little", {"n": sent}, [stalled, reading])
                await asyncio.sleep(0)  # the writers' turn
            await wait_until(lambda: stalled in served.left, "the stalled client is cut off")
            for number in range(sent):
                assert await reader.receive_str() == f'42["little",{{"n":{number}}}]'
            assert reading not in served.left


async def test_a_client_that_left_is_forgotten(served: Served) -> None:
    async with joined(served):
        pass
    await wait_until(lambda: served.left == served.sids, "it has left")
    await wait_until(lambda: not served.transport.eio.sockets, "its socket is gone")
    served.transport.deliver("to nobody", {}, served.sids)
    assert served.transport.environ == {}


async def test_a_client_that_leaves_during_its_handshake_is_no_error(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    request = (
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: here\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    # Without an await: the server stands still, as one does that was paused, and finds it gone.
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", served.port)) as link:
            link.sendall(request.encode())
    engine = served.transport.eio
    adopted: list[str] = []
    adopt = engine.adopt
    engine.adopt = lambda sid: adopted.append(sid) or adopt(sid)  # type: ignore[method-assign]
    await wait_until(lambda: len(adopted) == 20, "the server has seen them all")
    async with raw(served):
        pass
    await wait_until(lambda: not engine.sockets, "it has let go of them")
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []


def test_json_takes_what_orjson_refuses() -> None:
    assert WireJson.loads('"\\ud83d x"') == "\ufffd x"
    assert WireJson.loads(b'{"\\ud83d": ["\\udc00"]}') == {"\ufffd": ["\ufffd"]}
    assert WireJson.loads(str(2**80)) == 2**80
    with pytest.raises(ValueError, match=r"nested|unexpected|Expecting"):
        WireJson.loads("[" * 100_000)
    with pytest.raises(ValueError, match=r"nested|unexpected|Expecting"):
        WireJson.loads("{")


def test_json_gives_what_orjson_refuses() -> None:
    """The header of a handshake that is refused, for one."""
    assert WireJson.loads(WireJson.dumps({"a": ["evil\udca3", 2**80]})) == {
        "a": ["evil\ufffd", 2**80]
    }


async def test_a_call_under_way_is_answered_before_the_transport_closes(served: Served) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def slow(sid: str, name: Any, arguments: tuple[Any, ...]) -> Reply:
        begun.set()
        await gate.wait()
        return Reply({"slow": True})

    served.transport.dispatch = slow
    async with joined(served) as socket:
        await socket.send_str('423["slow"]')
        await begun.wait()
        closing = asyncio.create_task(served.transport.close())
        gate.set()
        assert await socket.receive_str() == '433[{"slow":true}]'
        await socket.close()
        await closing


async def test_connecting_elsewhere_does_not_connect_once_more(served: Served) -> None:
    async with joined(served) as socket:
        await socket.send_str("40/elsewhere,")
        assert (await socket.receive_str()).startswith("44/elsewhere,")
        await socket.send_str('421["call"]')
        assert (await socket.receive_str()).startswith("431[")
        assert len(served.sids) == 1
