"""A subscription listens, and comes back; whoever it does not listen for is told so."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
import redis

from redislink.subscription import MOST_AT_ONCE, NotListening, Subscription
from tests.support.redis_server import RedisServer
from tests.support.redis_way import RedisWay
from tests.support.wait import wait_until


class Listening:
    """A subscription, and what it heard."""

    def __init__(self, url: str) -> None:
        self.returns = 0
        self.heard: list[bytes] = []
        self.subscription = Subscription(url, name="test", on_return=self._returned)
        self.subscription.start()

    def _returned(self) -> None:
        self.returns += 1

    async def to(self, channel: bytes) -> None:
        await self.subscription.listen(channel, self.heard.append)

    async def has_returned(self, times: int) -> None:
        await wait_until(lambda: self.returns >= times, f"it listens for the {times}. time")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port) as client:
        yield client


@pytest.fixture
async def way(server: RedisServer) -> AsyncIterator[RedisWay]:
    async with RedisWay(server.port) as way:
        yield way


@pytest.fixture
async def here(way: RedisWay) -> AsyncIterator[Listening]:
    listening = Listening(way.url)
    await listening.has_returned(1)
    yield listening
    await listening.subscription.close()


def listeners(client: redis.Redis, channel: bytes) -> int:
    return int(client.pubsub_numsub(channel)[0][1])


async def hears(here: Listening, client: redis.Redis, channel: bytes = b"channel") -> None:
    """Whatever is published from now on, once."""
    told = [f"{uuid4()}".encode() for _ in range(3)]
    for word in told:
        client.publish(channel, word)
    await wait_until(lambda: told[-1] in here.heard, "all is heard")
    assert [word for word in here.heard if word in told] == told


async def test_what_is_published_once_listening_is_heard(
    here: Listening, client: redis.Redis
) -> None:
    await here.to(b"channel")
    await hears(here, client)


async def test_what_is_listened_to_before_it_is_started_is_heard(
    server: RedisServer, client: redis.Redis
) -> None:
    heard: list[bytes] = []
    subscription = Subscription(server.url, name="test", on_return=lambda: None)
    listening = asyncio.create_task(subscription.listen(b"channel", heard.append))
    await asyncio.sleep(0)
    subscription.start()
    await listening
    client.publish(b"channel", b"word")
    await wait_until(lambda: heard == [b"word"], "it is heard")
    await subscription.close()


async def test_it_listens_again_when_redis_has_cut_it_off(
    here: Listening, client: redis.Redis
) -> None:
    await here.to(b"channel")
    await here.to(b"another")
    for times in (2, 3):
        assert client.client_kill_filter(_type="pubsub") == 1
        await here.has_returned(times)
        await hears(here, client)
        await hears(here, client, b"another")


async def test_it_listens_again_when_redis_was_killed(
    here: Listening, server: RedisServer, client: redis.Redis
) -> None:
    await here.to(b"channel")
    server.kill()
    server.start()
    await here.has_returned(2)
    await hears(here, client)


async def test_it_listens_again_to_more_channels_than_fit_into_one_command(
    here: Listening, client: redis.Redis
) -> None:
    channels = [b"channel:%d" % number for number in range(2 * MOST_AT_ONCE + 50)]
    await asyncio.gather(*map(here.to, channels))
    client.client_kill_filter(_type="pubsub")
    await here.has_returned(2)
    for channel in channels:
        client.publish(channel, channel)
    await wait_until(lambda: len(here.heard) >= len(channels), "all is heard")
    assert sorted(here.heard) == sorted(channels)


async def test_nothing_is_heard_twice_however_often_it_is_cut_off(
    here: Listening, client: redis.Redis
) -> None:
    await here.to(b"channel")
    for number in range(300):
        client.publish(b"channel", b"%03d" % number)
        if number % 100 == 99:
            client.client_kill_filter(_type="pubsub")
            await here.has_returned(2 + number // 100)
    await hears(here, client)
    here.heard = here.heard[:-3]
    assert here.heard == sorted(set(here.heard))
    assert here.heard[0] == b"000"
    assert len(here.heard) > 200


# Leaving


async def test_what_was_left_is_not_heard(
    here: Listening, way: RedisWay, client: redis.Redis
) -> None:
    await here.to(b"channel")
    here.subscription.leave(b"channel")
    here.subscription.leave(b"channel")
    await wait_until(lambda: listeners(client, b"channel") == 0, "it has left")
    way.cut()
    way.mend()
    await here.has_returned(2)
    assert listeners(client, b"channel") == 0
    assert not here.subscription.listens_to(b"channel")


@pytest.mark.parametrize("seed", range(5))
async def test_who_leaves_and_listens_again_in_quick_succession_hears_all_and_once(
    here: Listening, client: redis.Redis, seed: int
) -> None:
    chance = random.Random(seed)
    channels = [b"a", b"b", b"c"]
    for _ in range(60):
        channel = chance.choice(channels)
        if chance.random() < 0.5:
            here.subscription.leave(channel)
        elif chance.random() < 0.5:
            await here.to(channel)
            client.publish(channel, channel)
        else:
            listening = asyncio.create_task(here.to(channel))
            await asyncio.sleep(0)
            if chance.random() < 0.5:
                here.subscription.leave(channel)
            else:
                await listening
            await asyncio.wait({listening})
            if listening.exception() is not None:
                assert isinstance(listening.exception(), NotListening)
    for channel in channels:
        if here.subscription.listens_to(channel):
            await here.to(channel)
            await hears(here, client, channel)
        else:
            await wait_until(lambda left=channel: listeners(client, left) == 0, "it has left")


async def test_what_is_published_right_after_listening_again_is_heard(
    here: Listening, client: redis.Redis
) -> None:
    for number in range(50):
        await here.to(b"channel")
        client.publish(b"channel", b"%d" % number)
        await wait_until(lambda told=b"%d" % number: told in here.heard, "it is heard")
        here.subscription.leave(b"channel")
    assert here.heard == [b"%d" % number for number in range(50)]


# Not listening


async def test_who_listens_while_redis_is_away_is_told_that_nothing_is_heard(
    here: Listening, way: RedisWay, client: redis.Redis
) -> None:
    way.cut()
    with pytest.raises(NotListening):
        await here.to(b"channel")
    assert not here.subscription.listens_to(b"channel")
    way.mend()
    await here.has_returned(2)
    assert listeners(client, b"channel") == 0
    await here.to(b"channel")
    await hears(here, client)


async def test_who_listens_again_while_redis_is_away_is_told_that_nothing_is_heard(
    here: Listening, way: RedisWay
) -> None:
    await here.to(b"channel")
    way.cut()
    await wait_until(lambda: not here.subscription.listening, "it is cut off")
    with pytest.raises(NotListening):
        await here.to(b"channel")


async def test_who_listens_while_redis_comes_back_is_heard(
    here: Listening, way: RedisWay, client: redis.Redis
) -> None:
    way.cut()
    await wait_until(lambda: not here.subscription.listening, "it is cut off")
    listening = asyncio.create_task(here.to(b"channel"))
    await asyncio.sleep(0)
    way.mend()
    await listening
    await hears(here, client)


async def test_who_gives_up_listening_is_not_told_anything_else(
    here: Listening, way: RedisWay
) -> None:
    way.freeze()
    listening = asyncio.create_task(here.to(b"channel"))
    await asyncio.sleep(0)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    assert not here.subscription.listens_to(b"channel")


async def test_a_frozen_connection_is_replaced_when_it_is_given_up(
    here: Listening, way: RedisWay, client: redis.Redis
) -> None:
    await here.to(b"channel")
    way.freeze(subscriptions_only=True)
    here.subscription.restart()
    await here.has_returned(2)
    await hears(here, client)
    way.thaw()  # what the old connection still brings is heard by nobody
    client.publish(b"channel", b"end")
    await wait_until(lambda: here.heard[-1] == b"end", "the next is heard")
    assert len(here.heard) == 4


async def test_a_connection_that_is_given_up_while_nothing_gets_through_comes_back_later(
    here: Listening, way: RedisWay, client: redis.Redis
) -> None:
    await here.to(b"channel")
    way.freeze()
    for _ in range(3):
        here.subscription.restart()
        await asyncio.sleep(0.1)
    way.thaw()
    here.subscription.restart()
    await here.has_returned(2)
    await hears(here, client)


async def test_it_can_be_closed_while_redis_is_away(server: RedisServer) -> None:
    server.kill()
    here = Listening(server.url)
    listening = asyncio.create_task(here.to(b"channel"))
    await asyncio.sleep(0)
    await here.subscription.close()
    with pytest.raises(NotListening):
        await listening
