"""Three MongoDB servers whose primary steps down, and is killed, under a stream of inserts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from memory.errors import DuplicateMessage, DuplicateNumber, Unavailable
from memory.records import Turn
from mongo.client import DRIVERS, DriverFactory
from mongo.store import MongoStore
from tests.stores.conftest import connected
from tests.stores.samples import LEASE, next_turn
from tests.support.mongod import ReplicaSet
from tests.support.wait import wait_until

WORKERS = 8
CONVERSATIONS = ["c1", "c2", "c3"]
EVERYTHING = 1_000_000


@pytest.fixture(scope="module")
def replica_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    with ReplicaSet(tmp_path_factory.mktemp("three")) as servers:
        yield servers


class Stream:
    """Workers that insert turns into the same few conversations, each as a server would."""

    def __init__(self, store: MongoStore) -> None:
        self._store = store
        self._stopping = False
        self.acknowledged: list[str] = []
        self.refused = 0
        self.last_at = 0.0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as workers:
            for i in range(WORKERS):
                workers.create_task(self._work(CONVERSATIONS[i % len(CONVERSATIONS)]))

    def stop(self) -> None:
        self._stopping = True

    async def goes_on(self) -> float:
        """Seconds until the next insert is acknowledged."""
        began = time.monotonic()
        await wait_until(lambda: self.last_at > began, "inserts are acknowledged", timeout=20)
        return self.last_at - began

    async def _work(self, conversation_id: str) -> None:
        while not self._stopping:
            try:
                turn = await next_turn(self._store, conversation_id)
                await self._insert(turn)
            except Unavailable:
                self.refused += 1
                await asyncio.sleep(0.05)
            except DuplicateNumber:
                continue

    async def _insert(self, turn: Turn) -> None:
        while True:
            try:
                await self._store.turns.insert(turn, lease_ms=LEASE)
            except Unavailable:  # it may be there all the same
                self.refused += 1
                await asyncio.sleep(0.05)
            except DuplicateMessage:
                break
            else:
                break
        self.acknowledged.append(turn.id)
        self.last_at = time.monotonic()


@pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)
async def test_nothing_acknowledged_is_lost_or_doubled_when_the_primary_changes(
    replica_set: ReplicaSet, driver: DriverFactory, database: str
) -> None:
    changes: list[bool] = []
    async with connected(
        MongoStore(replica_set.uri, database, driver=driver, on_change=changes.append)
    ) as store:
        stream = Stream(store)
        running = asyncio.create_task(stream.run())
        await stream.goes_on()
        await asyncio.sleep(1.0)
        assert (stream.refused, changes) == (0, [])

        first = await asyncio.to_thread(replica_set.primary)
        await asyncio.to_thread(replica_set.step_down)
        await stream.goes_on()
        await asyncio.sleep(1.0)

        changes.clear()
        second = await asyncio.to_thread(replica_set.primary)
        assert second is not first
        await asyncio.to_thread(second.kill)
        await wait_until(lambda: changes, "the primary is missed")
        await wait_until(lambda: not store.away, "another is used", timeout=20)
        await stream.goes_on()
        await asyncio.sleep(1.0)
        await asyncio.to_thread(second.launch)
        await asyncio.sleep(1.0)

        refused = stream.refused
        await asyncio.sleep(0.5)
        assert stream.refused == refused
        stream.stop()
        await running
        kept: Counter[str] = Counter()
        for conversation_id in CONVERSATIONS:
            turns = await store.turns.before(conversation_id, None, EVERYTHING)
            assert [turn.n for turn in turns] == list(range(1, len(turns) + 1))
            kept.update(turn.id for turn in turns)
        assert set(stream.acknowledged) <= set(kept)
        assert max(kept.values()) == 1
        assert len(stream.acknowledged) == len(set(stream.acknowledged))
