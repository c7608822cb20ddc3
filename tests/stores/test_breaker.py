"""MongoDB dead, frozen, or its network a black hole: soon noticed, then free of cost, then over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from memory.errors import DuplicateNumber, Unavailable
from mongo.client import DRIVERS, DriverFactory
from mongo.store import MongoStore
from tests.stores.conftest import connected
from tests.stores.lossy import LossyWay
from tests.stores.outages import Frozen, Killed, Outage, Swallowed, unavailable_after
from tests.stores.samples import LEASE, USER, a_turn, closed, finished, inserted
from tests.support.mongod import Mongod
from tests.support.wait import wait_until

# Seconds; it takes about 0.65, and the machine may be busy.
SOON = 1.5
# For 60 calls together; each takes some microseconds.
AT_ONCE = 0.05
# Until it is used again, once it answers: 0.1, or up to 1.5 after a black hole, whose connections
# only their time-out ends.
BACK = 3.0

both_drivers = pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)


@pytest.fixture
def own_mongod(tmp_path: Path) -> Iterator[Mongod]:
    """One that the test may treat badly."""
    with Mongod(tmp_path / "mongod") as server:
        yield server


@pytest.fixture
async def own_way(own_mongod: Mongod) -> AsyncIterator[LossyWay]:
    async with LossyWay(own_mongod.port) as way:
        yield way


async def soonest(store: MongoStore) -> float:
    """Seconds, of several tries: the machine may be busy with something else in one of them."""
    return min([await unavailable_after(store, a_turn("c1")) for _ in range(4)])


def tasks_named(name: str) -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == name]


@both_drivers
@pytest.mark.parametrize("kind", [Killed, Frozen, Swallowed])
async def test_an_outage_is_noticed_soon_then_costs_nothing_and_is_over_soon(
    own_mongod: Mongod,
    own_way: LossyWay,
    driver: DriverFactory,
    kind: type[Killed | Frozen | Swallowed],
) -> None:
    outage: Outage = kind(own_mongod, own_way)
    changes: list[bool] = []
    uri = f"mongodb://127.0.0.1:{own_way.port}/?directConnection=true"
    store = MongoStore(uri, "test", driver=driver, on_change=changes.append)
    async with connected(store):
        turn = await inserted(store, a_turn("c1", status="running"))
        assert not store.away

        for lasts in (0.3, 3.2):  # up to, and beyond, the driver's own time-outs
            changes.clear()
            await asyncio.to_thread(outage.begin)
            noticed = await unavailable_after(store, turn)
            assert changes == [True]
            assert store.away
            after = await soonest(store)
            await asyncio.sleep(lasts)
            assert await soonest(store) < AT_ONCE
            assert after < AT_ONCE
            assert noticed < SOON

            await asyncio.to_thread(outage.end)
            ended = time.monotonic()
            await wait_until(lambda: not store.away, "it is used again")
            took = time.monotonic() - ended
            assert took < BACK
            assert changes == [True, False]
            assert await store.turns.get("c1", turn.id) is not None
            await inserted(store, a_turn(f"c-{lasts}"))
        await closed(store, await finished(store, turn))
    assert changes == [True, False]
    assert not tasks_named("mongo-probes")


@both_drivers
async def test_hundreds_that_wait_when_it_goes_leave_a_store_that_works_again(
    own_mongod: Mongod, driver: DriverFactory
) -> None:
    store = MongoStore(own_mongod.uri, "test", driver=driver)
    async with connected(store):
        own_mongod.kill()
        listed = [store.conversations.list(USER, before=None, limit=5) for _ in range(300)]
        read = [store.turns.last("c1") for _ in range(300)]
        outcomes = await asyncio.gather(*listed, *read, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        await asyncio.to_thread(own_mongod.start)
        await wait_until(lambda: not store.away, "it is used again")
        await inserted(store, a_turn("c1"))


@both_drivers
async def test_a_store_begun_without_mongodb_connects_by_itself(
    tmp_path: Path, driver: DriverFactory
) -> None:
    server = Mongod(tmp_path / "mongod")
    changes: list[bool] = []
    store = MongoStore(server.uri, "test", driver=driver, on_change=changes.append)
    with pytest.raises(Unavailable):
        await store.connect()
    assert store.away
    assert changes == [True]
    assert await soonest(store) < AT_ONCE
    with server:
        began = time.monotonic()
        await wait_until(lambda: not store.away, "it is used")
        assert time.monotonic() - began < BACK
        assert changes == [True, False]
        await inserted(store, a_turn("c1", 1))
        with pytest.raises(DuplicateNumber):  # so the indexes were made
            await store.turns.insert(a_turn("c1", 1), lease_ms=LEASE)
        await store.close()


@both_drivers
async def test_a_store_closed_during_an_outage_asks_no_more(
    own_mongod: Mongod, driver: DriverFactory
) -> None:
    changes: list[bool] = []
    store = MongoStore(own_mongod.uri, "test", driver=driver, on_change=changes.append)
    await store.connect()
    own_mongod.kill()
    await unavailable_after(store, a_turn("c1"))
    assert tasks_named("mongo-probes")
    await store.close()
    assert not tasks_named("mongo-probes")
    with pytest.raises(Unavailable, match="not open"):
        await store.ping()

    own_mongod.start()
    async with connected(store):
        assert not store.away
        assert changes == [True, False]
        await store.ping()
