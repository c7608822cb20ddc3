"""Sessions by polling, and their way to a websocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.server.edge.served import hear, hung_up, nothing_is_left, polling, post, serving


async def test_every_packet_of_a_post_is_taken_however_many_and_in_how_many_pieces() -> None:
    async def pieces(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 500):
            yield body[start : start + 500]
            await asyncio.sleep(0)

    async with serving() as served, polling(served) as (http, url):
        assert await post(http, url, "40") == 200
        batch = "\x1e".join(f'42{number}["call"]' for number in range(300))
        assert await post(http, url, batch) == 200
        assert await post(http, url, pieces(batch.encode())) == 200
        heard = await hear(http, url, 2 + 600 * 3)
        answered = [each[2:].partition("[")[0] for each in heard if each.startswith("43")]
        assert sorted(answered) == sorted([str(number) for number in range(300)] * 2)


NO_ENGINE_IO = ["", "x", "9", "4\x1e", "40\x1e2", b"4\xff", "bx", "4" * 1_000_001]


@pytest.mark.parametrize("body", NO_ENGINE_IO)
async def test_a_post_that_is_no_engine_io_is_refused_and_ends_the_session(body: Any) -> None:
    async with serving() as served, polling(served) as (http, url):
        assert await post(http, url, body) == 400
        await nothing_is_left(served)
        assert await post(http, url, "40") == 400


async def test_a_post_that_never_ends_is_ended() -> None:
    async def never(body: bytes) -> AsyncIterator[bytes]:
        yield body
        await asyncio.Event().wait()

    async with serving() as served, polling(served) as (http, url):
        served.transport.eio.ping_timeout = 0.3
        with pytest.raises((aiohttp.ClientError, AssertionError)):
            assert await post(http, url, never(b"42")) == 200
        await nothing_is_left(served)


async def test_a_dropped_polling_client_is_told_and_gone() -> None:
    async with serving() as served, polling(served) as (http, url):
        assert await post(http, url, "40") == 200
        served.transport.deliver("last words", {}, served.sids)
        served.transport.drop(served.sids[0])
        heard = await hear(http, url, 4)
        assert heard[2:] == ['42["last words",{}]', "1"]
        await nothing_is_left(served)


# From polling to a websocket


async def test_an_upgrade_that_is_not_finished_ends_and_polling_goes_on() -> None:
    async with serving() as served, polling(served) as (http, url):
        served.transport.eio.ping_timeout = 0.3
        assert await post(http, url, "40") == 200
        await hear(http, url, 2)
        for said in ([], ["2probe"], ["x"], ["2probe", "2"]):
            upgrade = url.replace("polling", "websocket")
            async with http.ws_connect(upgrade) as socket:
                for each in said:
                    await socket.send_str(each)
                await hung_up(socket)
        served.transport.deliver("on and on", {}, served.sids)
        heard = []
        while '42["on and on",{}]' not in heard:
            heard += await hear(http, url, 1)
        assert len(heard) < 10  # a NOOP for each probe, not one for each poll


async def test_a_session_has_one_websocket() -> None:
    async with serving() as served, polling(served) as (http, url):
        upgrade = url.replace("polling", "websocket")
        async with http.ws_connect(upgrade) as first, http.ws_connect(upgrade) as second:
            await hung_up(second)
            await first.send_str("2probe")
            assert await first.receive_str() == "3probe"
            await first.send_str("5")
            await first.send_str("40")
            while not (await first.receive_str()).startswith("40{"):
                pass
    await nothing_is_left(served)
