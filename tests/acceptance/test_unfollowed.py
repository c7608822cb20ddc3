"""A conversation that goes on elsewhere, and that nobody follows here any more."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import StartApp
from tests.support.client import Client
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.redis_way import RedisWay
from tests.support.wait import wait_until


@pytest.mark.long
async def test_a_server_stops_hearing_a_busy_conversation_when_its_last_reader_has_left(
    start_app: StartApp, provider: Provider, shared: dict[str, str], redis_server: RedisServer
) -> None:
    size = 50_000
    provider.respond = lambda body: Script(["y" * 999 + " "] * (size // 1000), delay=0.005)
    async with RedisWay(redis_server.port) as way:
        here, there = start_app(**shared), start_app(**shared | {"REDIS_URL": way.url})
        async with Client(here.url) as guest, Client(there.url, guest.token) as across:
            conversation_id = (await guest.ask("begin"))["conversation_id"]
            await across.open(conversation_id)
            before = way.heard
            await guest.ask("watched", conversation_id)
            assert way.heard - before > size
            await across.ok("conversation:close", conversation_id=conversation_id)

            async def unheard() -> bool:
                before = way.heard
                await guest.ask("unwatched", conversation_id)
                return way.heard - before < size / 4

            await wait_until(unheard, "it hears no more of it", timeout=30, interval=0.5)
