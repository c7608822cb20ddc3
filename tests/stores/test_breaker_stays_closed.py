"""What is slow, refused or stalled while MongoDB is well, and must not count as an outage."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pymongo import AsyncMongoClient

from memory.errors import DuplicateMessage, Unavailable
from mongo.client import DEFAULT_DRIVER, DRIVERS, Connection, DriverFactory
from mongo.store import MongoStore
from tests.stores.lossy import LossyWay
from tests.stores.samples import LEASE, USER, a_conversation, a_turn, inserted, new_id
from tests.support.mongod import Mongod

both_drivers = pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)


@asynccontextmanager
async def never_away(
    uri: str, database: str, driver: DriverFactory = DEFAULT_DRIVER
) -> AsyncIterator[MongoStore]:
    changes: list[bool] = []
    store = MongoStore(uri, database, driver=driver, on_change=changes.append)
    await store.connect()
    try:
        yield store
    finally:
        await store.close()
    assert changes == []


async def quick_ones(store: MongoStore) -> None:
    while True:
        await store.turns.last("c1")
        await asyncio.sleep(0.05)


@both_drivers
@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "beside quick ones"])
async def test_one_slow_operation(
    mongod: Mongod, mongo_database: str, driver: DriverFactory, is_alone: bool
) -> None:
    async with LossyWay(mongod.port) as way:
        uri = f"mongodb://127.0.0.1:{way.port}/?directConnection=true"
        async with never_away(uri, mongo_database, driver) as store:
            others = [] if is_alone else [asyncio.create_task(quick_ones(store))]
            way.held = b"slow one"
            made = asyncio.create_task(
                store.conversations.create("c1", USER, "slow one", digest=None, at=1)
            )
            await way.is_holding.wait()
            await asyncio.sleep(2.0)
            way.let_go.set()
            _, was_made = await made
            assert was_made
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)


@both_drivers
async def test_an_event_loop_that_stalls(
    mongod: Mongod, mongo_database: str, driver: DriverFactory
) -> None:
    async with never_away(mongod.uri, mongo_database, driver) as store:

        async def work() -> None:
            for _ in range(20):
                await inserted(store, a_turn(new_id()))

        workers = asyncio.gather(*(work() for _ in range(10)))
        for stall in (1.5, 0.7, 0.3, 0.3, 0.3, *[0.1] * 10):
            await asyncio.sleep(0.01)
            time.sleep(stall)
        await workers


@both_drivers
async def test_three_hundred_operations_at_once(
    mongod: Mongod, mongo_database: str, driver: DriverFactory
) -> None:
    async with never_away(mongod.uri, mongo_database, driver) as store:
        ids = await asyncio.gather(*(a_conversation(store) for _ in range(300)))
        await asyncio.gather(
            *(inserted(store, a_turn(conversation_id)) for conversation_id in ids),
            *(store.conversations.rename(conversation_id, USER, "x") for conversation_id in ids),
            *(store.load(conversation_id, 50) for conversation_id in ids),
        )


@both_drivers
async def test_refused_writes(mongod: Mongod, mongo_database: str, driver: DriverFactory) -> None:
    async with never_away(mongod.uri, mongo_database, driver) as store:
        turn = await inserted(store, a_turn("c1"))
        for _ in range(100):
            with pytest.raises(DuplicateMessage):
                await store.turns.insert(turn, lease_ms=LEASE)


async def write_x_in_a_transaction(connection: Connection) -> None:
    async with connection.operation() as collections:
        session = collections.probes.database.client.start_session()
        async with session, await session.start_transaction():
            change = {"$set": {"by": 2}}
            await collections.probes.update_one({"_id": "x"}, change, upsert=True, session=session)


async def test_a_write_that_meets_another(mongod: Mongod, mongo_database: str) -> None:
    changes: list[bool] = []
    connection = Connection(mongod.uri, mongo_database, AsyncMongoClient, changes.append)
    await connection.open()
    with mongod.client() as client, client.start_session() as theirs, theirs.start_transaction():
        probes = client[mongo_database].probes
        probes.update_one({"_id": "x"}, {"$set": {"by": 1}}, upsert=True, session=theirs)
        for _ in range(3):
            with pytest.raises(Unavailable, match="at the moment"):  # code 112
                await write_x_in_a_transaction(connection)
            await asyncio.sleep(0.2)
        theirs.abort_transaction()
    await connection.close()
    assert changes == []


@pytest.mark.parametrize("name", list(DRIVERS))
async def test_a_process_that_stands_still(mongod: Mongod, mongo_database: str, name: str) -> None:
    streaming = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.stores.streaming", mongod.uri, mongo_database, name),
        stdout=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.PIPE,
    )
    assert streaming.stdout is not None
    assert (await streaming.stdout.readline()) == b"streaming\n"
    for stopped in (0.3, 1.0, 5.0):
        await asyncio.sleep(0.5)
        streaming.send_signal(signal.SIGSTOP)
        await asyncio.sleep(stopped)
        streaming.send_signal(signal.SIGCONT)
    await asyncio.sleep(0.5)
    said, _ = await streaming.communicate(b"\n")
    assert said == b"changes: []\n"
    assert streaming.returncode == 0
