"""PyMongo's connections, waited for directly: what they spare, and that they fail as before."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any

import pymongo
import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.pool import Pool
from pymongo.errors import AutoReconnect, DocumentTooLarge, NetworkTimeout

from mongo.direct import SHORT_SECONDS, DirectConnection
from mongo.pool import DirectPool
from tests.stores.lossy import LossyWay
from tests.support.mongod import Mongod

Client = AsyncMongoClient[dict[str, Any]]

POOLS = {"direct": DirectPool, "pymongo": Pool}


@pytest.fixture
async def way(mongod: Mongod) -> AsyncIterator[LossyWay]:
    async with LossyWay(mongod.port) as way:
        yield way


def client_of(port: int, pool: type[Pool], **options: Any) -> Client:
    uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    return AsyncMongoClient(uri, _pool_class=pool, **{"retryReads": False, **options})


@pytest.fixture(params=POOLS.values(), ids=POOLS)
async def client(
    request: pytest.FixtureRequest, way: LossyWay, mongo_database: str
) -> AsyncIterator[Client]:
    async with client_of(way.port, request.param, timeoutMS=700) as opened:
        await opened.admin.command("ping")
        yield opened


async def test_what_is_asked_is_waited_for_directly(mongod: Mongod) -> None:
    async with client_of(mongod.port, DirectPool) as client:
        await client.admin.command("ping")
        topology = client._topology
        assert topology is not None
        [server] = topology._servers.values()
        assert {type(connection) for connection in server.pool.conns} == {DirectConnection}


async def turns_of_the_loop(client: Client) -> float:
    """How many an operation takes, where each is long enough for MongoDB to have answered."""
    loop = asyncio.get_running_loop()
    turns = 0

    def turn() -> None:
        nonlocal turns, timer
        turns += 1
        time.sleep(0.003)
        timer = loop.call_soon(turn)

    timer = loop.call_soon(turn)
    counts = []
    for _ in range(30):
        before = turns
        await client.test.things.find_one({"_id": 1})
        counts.append(turns - before)
    timer.cancel()
    return statistics.median(counts)


async def test_an_operation_takes_less_than_half_as_many_turns_of_the_event_loop(
    mongod: Mongod,
) -> None:
    taken = {}
    for name, pool in POOLS.items():
        async with client_of(mongod.port, pool, timeoutMS=3_000) as client:
            await client.admin.command("ping")
            taken[name] = await turns_of_the_loop(client)
    assert taken["direct"] < taken["pymongo"] / 2, taken


async def test_silence_ends_in_time_and_the_connection_is_not_used_again(
    client: Client, way: LossyWay
) -> None:
    way.held = b"things"
    began = time.monotonic()
    with pytest.raises(NetworkTimeout):
        await client.test.things.find_one({"_id": "never"})
    assert 0.5 < time.monotonic() - began < 3
    way.held = None
    way.let_go.set()
    # The late reply would be taken for this one's.
    assert await client.test.others.find_one({"_id": 1}) is None
    assert (await client.admin.command("ping"))["ok"] == 1


async def test_a_lost_connection_is_an_error_of_the_drivers(client: Client, way: LossyWay) -> None:
    way.lost = b"things"
    with pytest.raises(AutoReconnect):
        await client.test.things.find_one({"_id": 1})
    way.lost = None
    assert await client.test.things.find_one({"_id": 1}) is None


async def test_who_is_cancelled_while_waiting_leaves_no_reply_to_the_next(
    client: Client, way: LossyWay
) -> None:
    way.held = b"things"
    asked = asyncio.create_task(client.test.things.find_one({"_id": 1}))
    await way.is_holding.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    way.held = None
    way.let_go.set()
    for _ in range(5):
        assert (await client.admin.command("ping"))["ok"] == 1


async def test_what_is_too_large_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(DocumentTooLarge):
        await client.test.things.insert_one({"text": "x" * 17_000_000})
    assert (await client.admin.command("ping"))["ok"] == 1


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
async def test_what_may_take_long_is_called_off_where_the_server_is_gone(
    way: LossyWay, pool: type[Pool]
) -> None:
    """As an index that is built for hours."""
    often = {"heartbeatFrequencyMS": 500, "connectTimeoutMS": 500}
    async with client_of(way.port, pool, **often) as client:
        await client.admin.command("ping")
        way.held = b"things"
        with pymongo.timeout(60 * SHORT_SECONDS):
            asked = asyncio.create_task(client.test.things.find_one({"_id": 1}))
            await way.is_holding.wait()
        way.swallows = True
        with pytest.raises(AutoReconnect):
            async with asyncio.timeout(8):
                await asked
        way.let_go.set()
