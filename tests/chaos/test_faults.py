"""The faults are what their names say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.chaos.world import Past
from tests.support.redis_server import RedisServer
from tests.support.redis_way import RedisWay
from tests.support.wait import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer("--dir", str(tmp_path)) as server:
        yield server


@pytest.fixture
async def way(server: RedisServer) -> AsyncIterator[RedisWay]:
    async with RedisWay(server.port) as way:
        yield way


@pytest.fixture
async def here(way: RedisWay) -> AsyncIterator[Redis]:
    """Over the way; without retries, or a cut would be mended before the test sees it."""
    async with Redis(port=way.port, decode_responses=True, retry=None) as client:
        yield client


@pytest.fixture
async def there(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis(port=server.port, decode_responses=True) as client:
        yield client


async def test_a_server_cut_off_is_cut_off_alone(way: RedisWay, here: Redis, there: Redis) -> None:
    await here.set("key", "value")
    way.cut()
    with pytest.raises(RedisConnectionError):
        await here.get("key")
    assert await there.get("key") == "value"
    way.mend()
    assert await here.get("key") == "value"


async def test_a_frozen_way_delivers_late_what_was_sent(
    way: RedisWay, here: Redis, there: Redis
) -> None:
    await here.ping()
    way.freeze()
    writing = asyncio.create_task(here.set("key", "value"))
    await asyncio.sleep(0.1)
    assert await there.get("key") is None
    way.thaw()
    await writing
    assert await there.get("key") == "value"


async def test_a_deafened_server_can_still_write_and_subscribe_anew(
    way: RedisWay, here: Redis, there: Redis
) -> None:
    async with here.pubsub(ignore_subscribe_messages=True) as deaf:
        await deaf.subscribe("news")
        await wait_until(lambda: way.subscriptions == 1, "it is subscribed")
        way.freeze(subscriptions_only=True)
        assert way.subscriptions == 0
        assert await here.publish("news", "one") == 1
        async with here.pubsub(ignore_subscribe_messages=True) as again:
            await again.subscribe("news")
            await wait_until(lambda: way.subscriptions == 1, "it is subscribed anew")
            await there.publish("news", "two")
            assert await _next(again) == "two"
        assert await deaf.get_message(timeout=0.1) is None
        way.thaw()
        assert [await _next(deaf), await _next(deaf)] == ["one", "two"]


async def _next(subscription: object) -> str:
    message = await wait_until(
        lambda: subscription.get_message(timeout=1),  # type: ignore[attr-defined]
        "a message arrives",
    )
    return str(message["data"])


async def test_redis_comes_back_with_what_it_held_and_then_empty(
    server: RedisServer, tmp_path: Path, there: Redis
) -> None:
    past = Past(server, tmp_path)
    await there.set("old", "1")
    past.keep()
    await there.set("new", "1")
    server.kill()
    past.start()
    assert await there.keys() == ["old"]
    server.kill()
    server.start()
    assert await there.keys() == []
