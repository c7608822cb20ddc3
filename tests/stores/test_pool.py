"""Operations that wait for a connection to MongoDB: in a line, and not for one another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pymongo
import pytest
from pymongo.asynchronous.pool import Pool
from pymongo.errors import PyMongoError, WaitQueueTimeoutError

from mongo.pool import DirectPool
from tests.stores.lossy import LossyWay
from tests.stores.test_direct import Client, client_of, way
from tests.support.mongod import Mongod
from tests.support.wait import wait_until

__all__ = ["way"]


@pytest.fixture
async def client(way: LossyWay) -> AsyncIterator[Client]:
    async with client_of(way.port, DirectPool, maxPoolSize=2, timeoutMS=3_000) as client:
        await client.admin.command("ping")
        yield client


def pool_of(client: Client) -> DirectPool:
    topology = client._topology
    assert topology is not None
    [server] = topology._servers.values()
    pool = server.pool
    assert isinstance(pool, DirectPool)
    return pool


async def asked(client: Client, number: int = 0) -> None:
    assert await client.test.others.find_one({"_id": f"never {number}"}) is None


def is_as_before(client: Client) -> bool:
    pool = pool_of(client)
    return not pool._line and (pool.requests, pool.active_sockets, pool._pending) == (0, 0, 0)


async def test_all_get_through_by_a_few(client: Client) -> None:
    await asyncio.gather(*(asked(client, number) for number in range(200)))
    assert len(pool_of(client).conns) <= 2
    assert is_as_before(client)


async def held_up(client: Client, way: LossyWay) -> list[asyncio.Task[object]]:
    """Both connections wait for MongoDB."""
    way.held = b"things"
    holding = [
        asyncio.create_task(client.test.things.find_one({"_id": number})) for number in (1, 2)
    ]
    await wait_until(lambda: pool_of(client).active_sockets == 2, "both are in use")
    await way.is_holding.wait()
    return holding


async def test_who_gives_up_leaves_no_hole_in_the_line(client: Client, way: LossyWay) -> None:
    holding = await held_up(client, way)
    waiting = [asyncio.create_task(asked(client, number)) for number in range(10)]
    await wait_until(lambda: len(pool_of(client)._line) == 10, "they wait")
    for task in waiting[::2]:
        task.cancel()
    way.held = None
    way.let_go.set()
    await asyncio.gather(*holding)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    cancelled = [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes]
    assert cancelled == [True, False] * 5
    assert is_as_before(client)


async def test_who_was_called_and_leaves_passes_it_on(client: Client, way: LossyWay) -> None:
    holding = await held_up(client, way)
    waiting = [asyncio.create_task(asked(client, number)) for number in range(10)]
    await wait_until(lambda: len(pool_of(client)._line) == 10, "they wait")
    first = pool_of(client)._line[0]
    # In the very turn of the event loop in which it is called.
    first.add_done_callback(lambda _: waiting[0].cancel())
    way.held = None
    way.let_go.set()
    await asyncio.gather(*holding)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert outcomes[1:] == [None] * 9
    assert is_as_before(client)


async def test_nobody_waits_longer_than_an_operation_may_take(
    client: Client, way: LossyWay
) -> None:
    holding = await held_up(client, way)
    began = time.monotonic()
    with pymongo.timeout(0.5), pytest.raises(WaitQueueTimeoutError):
        await asked(client)
    assert time.monotonic() - began < 2
    way.held = None
    way.let_go.set()
    await asyncio.gather(*holding)
    assert is_as_before(client)


async def test_all_that_wait_hear_that_the_server_is_gone(client: Client, way: LossyWay) -> None:
    holding = await held_up(client, way)
    waiting = [asyncio.create_task(asked(client, number)) for number in range(10)]
    await wait_until(lambda: len(pool_of(client)._line) == 10, "they wait")
    way.lost = b"find"
    way.held = None
    way.let_go.set()
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(*holding, *waiting, return_exceptions=True)
    assert any(isinstance(outcome, PyMongoError) for outcome in outcomes[2:])
    way.lost = None
    await asked(client)
    assert is_as_before(client)


async def test_a_connection_that_pymongo_makes_by_itself_is_not_missed(mongod: Mongod) -> None:
    """In the background, where some are to be there always: for these nobody waits."""
    few = {"maxPoolSize": 1, "minPoolSize": 1, "timeoutMS": 3_000}
    async with client_of(mongod.port, DirectPool, **few) as client:
        await client.admin.command("ping")
        pool = pool_of(client)
        pool._pending, most = pool._max_connecting, pool._pending
        idle, pool.conns = pool.conns, type(pool.conns)()
        waiting = asyncio.create_task(asked(client))
        await wait_until(lambda: len(pool._line) == 1, "it waits")
        pool._pending, pool.conns = most, idle
        await asked(client, 2)
        await waiting
        assert is_as_before(client)


async def turns_for(client: Client, operations: int) -> int:
    """Turns of the event loop that it takes to get so many through at once, where each is long
    enough for MongoDB to have answered."""
    loop = asyncio.get_running_loop()
    turns = 0

    def turn() -> None:
        nonlocal turns, timer
        turns += 1
        time.sleep(0.002)
        timer = loop.call_soon(turn)

    timer = loop.call_soon(turn)
    await asyncio.gather(*(asked(client, number) for number in range(operations)))
    timer.cancel()
    return turns


async def test_they_take_fewer_turns_than_by_pymongos_own_waiting(mongod: Mongod) -> None:
    taken = {}
    for pool in (DirectPool, Pool):
        async with client_of(mongod.port, pool, maxPoolSize=10, timeoutMS=20_000) as client:
            await asyncio.gather(*(asked(client, number) for number in range(50)))
            taken[pool] = await turns_for(client, 100)
    assert taken[DirectPool] < taken[Pool] / 2, taken
