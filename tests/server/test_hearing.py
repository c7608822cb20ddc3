"""Whether a server hears what is published: what it says of it, and what it does about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis

from server.feed.hearing import BEAT_SECONDS
from server.feed.keys import beat_channel
from server.feed.shared import SharedLogs
from tests.support.redis_server import RedisServer
from tests.support.redis_way import RedisWay
from tests.support.shared_logs import NothingToRepair
from tests.support.wait import wait_until

CHANNEL = "a conversation"


class Server:
    """Listens, and counts how often it looked for what it may not have heard."""

    def __init__(self, url: str, name: str = "us") -> None:
        self.looks = 0
        self.fails = False
        self.signals: list[bytes] = []
        self.logs = SharedLogs(
            url,
            server=name,
            repairs=NothingToRepair(),
            look=self._look,
            on_change=lambda state: None,
        )

    async def _look(self) -> None:
        self.looks += 1
        if self.fails:
            raise LookupError("what was published can't be read")

    async def hears_signals(self, client: redis.Redis) -> None:
        def heard() -> bool:
            client.publish("feed:signals", "word")
            return bool(self.signals)

        self.signals.clear()
        await wait_until(heard, "a signal is heard")

    async def becomes_deaf(self) -> None:
        await wait_until(lambda: self.logs.deaf, "it is deaf", timeout=5.0)


@asynccontextmanager
async def running(url: str, name: str = "us") -> AsyncIterator[Server]:
    server = Server(url, name)
    await server.logs.connect()
    server.logs.listen_to_signals(server.signals.append)
    try:
        yield server
    finally:
        await server.logs.close()


@pytest.fixture
async def us(way: RedisWay, keys: redis.Redis) -> AsyncIterator[Server]:
    async with running(way.url) as server:
        await server.hears_signals(keys)
        yield server


async def test_a_server_hears_and_looks_when_it_has_begun_to(us: Server) -> None:
    await wait_until(lambda: us.looks == 1, "it has looked once")
    await asyncio.sleep(2 * BEAT_SECONDS)
    assert us.looks == 1
    assert not us.logs.deaf


async def test_a_server_whose_subscription_is_frozen_is_deaf_within_five_seconds(
    us: Server, way: RedisWay
) -> None:
    way.freeze(subscriptions_only=True)
    began = time.monotonic()
    await us.becomes_deaf()
    assert time.monotonic() - began < 5
    assert us.logs.connected


async def test_a_deaf_server_listens_anew_and_looks_for_what_it_did_not_hear(
    us: Server, way: RedisWay, keys: redis.Redis
) -> None:
    way.freeze(subscriptions_only=True)
    await us.becomes_deaf()
    looks = us.looks
    await wait_until(lambda: not us.logs.deaf, "it hears again")
    await us.hears_signals(keys)
    await wait_until(lambda: us.looks > looks, "it has looked")


async def test_a_server_that_stays_deaf_looks_once_a_second(
    us: Server, way: RedisWay, keys: redis.Redis
) -> None:
    stopping = asyncio.create_task(freeze_again_and_again(way))
    await us.becomes_deaf()
    looks = us.looks
    await asyncio.sleep(5 * BEAT_SECONDS)
    assert 2 <= us.looks - looks <= 6
    assert us.logs.connected
    stopping.cancel()
    await asyncio.wait({stopping})
    await wait_until(lambda: not us.logs.deaf, "it hears again")
    await us.hears_signals(keys)


async def freeze_again_and_again(way: RedisWay) -> None:
    """No subscription lives for longer than a moment, and none is ever closed."""
    while True:
        way.freeze(subscriptions_only=True)
        await asyncio.sleep(0.002)


async def test_a_server_looks_also_where_a_look_has_failed(us: Server, way: RedisWay) -> None:
    us.fails = True
    way.freeze(subscriptions_only=True)
    await us.becomes_deaf()
    looks = us.looks
    await wait_until(lambda: us.looks > looks, "it has looked again")


async def test_a_server_whose_subscription_is_cut_hears_again_and_looks_without_being_deaf(
    us: Server, keys: redis.Redis
) -> None:
    await wait_until(lambda: us.looks == 1, "it has looked once")
    keys.client_kill_filter(_type="pubsub")
    await wait_until(lambda: us.looks == 2, "it has looked again")
    assert not us.logs.deaf
    await us.hears_signals(keys)


async def test_a_server_without_redis_is_not_deaf_and_hears_when_it_is_back(
    us: Server, way: RedisWay, keys: redis.Redis
) -> None:
    way.cut()
    await wait_until(lambda: not us.logs.connected, "Redis is away", timeout=5)
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        assert not us.logs.deaf
        await asyncio.sleep(0.1)
    way.mend()
    await wait_until(lambda: us.logs.connected, "Redis is used again")
    await us.hears_signals(keys)
    assert not us.logs.deaf


async def test_a_server_that_stood_still_does_not_take_itself_for_deaf(us: Server) -> None:
    time.sleep(5)  # as if it was stopped, or computed for long
    for _ in range(20):
        await asyncio.sleep(0.05)
        assert not us.logs.deaf


async def test_each_server_has_a_heartbeat_of_its_own(
    redis_server: RedisServer, way: RedisWay, keys: redis.Redis
) -> None:
    async with running(way.url, "us") as us, running(redis_server.url, "them") as them:
        beats = [beat_channel("us"), beat_channel("them")]
        each_alone = [(channel, 1) for channel in beats]
        await wait_until(
            lambda: keys.pubsub_numsub(*beats) == each_alone, "each hears its own heartbeat"
        )
        way.freeze(subscriptions_only=True)
        await us.becomes_deaf()
        assert not them.logs.deaf


async def test_a_server_can_be_closed_whatever_it_is_doing(redis_server: RedisServer) -> None:
    for pause in (0, 0, 0.001, 0.005, 0.02):
        async with running(redis_server.url):
            await asyncio.sleep(pause)
            began = time.monotonic()
        assert time.monotonic() - began < 1
