"""A replica set killed or frozen, and replies that get lost: said soon, healed, nothing doubled.

How soon, and what else may happen to MongoDB: test_breaker.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from memory.errors import DuplicateMessage, RememberingError, Unavailable
from memory.records import Position
from mongo.client import DEFAULT_DRIVER, DRIVERS, DriverFactory
from mongo.store import MongoStore
from stores.contract import Store
from tests.stores.conftest import connected
from tests.stores.lossy import LossyWay
from tests.stores.outages import unavailable_after
from tests.stores.samples import (
    LEASE,
    OTHER,
    USER,
    a_conversation,
    a_turn,
    an_answer,
    claimed,
    closed,
    exchanges,
    finished,
    inserted,
    new_id,
    next_turn,
)
from tests.support.mongod import Mongod
from tests.support.wait import wait_until

# Seconds until a caller is told, on a busy machine.
SOON = 1.5


@pytest.fixture
def own_mongod(tmp_path: Path) -> Iterator[Mongod]:
    """One that the test may treat badly."""
    with Mongod(tmp_path / "mongod") as server:
        yield server


async def works(store: Store) -> bool:
    try:
        await store.ping()
    except Unavailable:
        return False
    return True


def impatient(driver: DriverFactory) -> DriverFactory:
    """It gives up, or stops trying again, after less than a second."""

    def make(uri: str, **options: Any) -> Any:
        return driver(uri, **{**options, "timeoutMS": 700})

    return make


@pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)
async def test_a_frozen_or_killed_server_is_unavailable_soon_and_works_when_back(
    own_mongod: Mongod, driver: DriverFactory
) -> None:
    store = MongoStore(own_mongod.uri, "test", driver=driver)
    async with connected(store):
        turn = await inserted(store, a_turn("c1", status="running"))

        own_mongod.pause()
        assert await unavailable_after(store, turn) < SOON
        own_mongod.resume()
        await wait_until(lambda: works(store), "the thawed server is used again")
        assert await store.turns.get("c1", turn.id) is not None

        own_mongod.kill()
        assert await unavailable_after(store, turn) < SOON
        own_mongod.start()
        await wait_until(lambda: works(store), "the restarted server is used again")
        kept = await store.turns.get("c1", turn.id)
        assert kept is not None
        await closed(store, await finished(store, turn))


async def test_nothing_acknowledged_is_lost_when_a_single_server_is_killed(
    tmp_path: Path,
) -> None:
    with Mongod(tmp_path / "mongod", replica_set=False) as server:
        async with connected(MongoStore(server.uri, "test")) as store:
            turns = [a_turn(new_id()) for _ in range(50)]
            await asyncio.gather(*(inserted(store, turn) for turn in turns))
            server.kill()
            server.start()
            await wait_until(lambda: works(store), "the restarted server is used again")
            for turn in turns:
                assert await store.turns.last(turn.conversation_id) == turn


@pytest.fixture
async def way(mongod: Mongod) -> AsyncIterator[LossyWay]:
    async with LossyWay(mongod.port) as lossy:
        yield lossy


@pytest.fixture
async def far_store(way: LossyWay, mongo_database: str) -> AsyncIterator[Store]:
    """A store whose way to MongoDB loses replies."""
    uri = f"mongodb://127.0.0.1:{way.port}/?directConnection=true"
    driver = impatient(DEFAULT_DRIVER)
    async with connected(MongoStore(uri, mongo_database, driver=driver)) as opened:
        yield opened


async def losing_the_reply(
    way: LossyWay, store: Store, marker: str, call: Callable[[], Awaitable[Any]]
) -> Any:
    """The call's second outcome; the first was done, and nobody heard of it."""
    way.lost = marker.encode()
    with pytest.raises(Unavailable):
        await call()
    assert way.losses > 0
    way.lost = None
    # Cut twice, and silent in between while the driver looks for the server: that is an outage.
    await wait_until(lambda: works(store), "the server is used again")
    return await call()


async def test_a_conversation_made_again_after_a_lost_reply_is_the_same(
    way: LossyWay, far_store: Store
) -> None:
    async def create() -> Any:
        return await far_store.conversations.create("c1", USER, "mark", digest="d", at=1)

    conversation, was_made = await losing_the_reply(way, far_store, "mark", create)
    assert not was_made
    assert conversation == await far_store.conversations.get("c1", USER)


async def test_a_turn_inserted_again_after_a_lost_reply_is_recognised(
    way: LossyWay, far_store: Store
) -> None:
    turn = a_turn("c1", content="mark", status="running")

    async def insert() -> None:
        await far_store.turns.insert(turn, lease_ms=LEASE)

    with pytest.raises(DuplicateMessage):
        await losing_the_reply(way, far_store, "mark", insert)
    # At once, and certain to survive: its replay may be acknowledged.
    assert await far_store.turns.by_message(USER, turn.question.message_id) == turn
    assert await far_store.turns.before("c1", None, 5) == [turn]


async def test_an_answer_finished_again_after_a_lost_reply_counts_once(
    way: LossyWay, far_store: Store
) -> None:
    conversation_id = await a_conversation(far_store)
    turn = await inserted(far_store, a_turn(conversation_id, status="running"))

    async def finish() -> Any:
        return await far_store.turns.finish(turn, "completed", an_answer(turn, "mark"))

    ended = await losing_the_reply(way, far_store, "mark", finish)
    assert (ended.status, ended.answers) == ("completed", 1)

    async def close() -> None:
        await far_store.turns.close(ended)

    await losing_the_reply(way, far_store, "updated_at", close)
    conversation = await far_store.conversations.get(conversation_id, USER)
    assert conversation.position.answers == 1
    assert await far_store.turns.open_turns(conversation_id) == []


@pytest.mark.parametrize("marker", ["superseded_by", "$$REMOVE", "$max"])
async def test_superseding_again_after_a_lost_reply_gives_the_same(
    way: LossyWay, far_store: Store, marker: str
) -> None:
    conversation_id = await a_conversation(far_store)
    await exchanges(far_store, conversation_id, 3)
    edit = await inserted(far_store, await next_turn(far_store, conversation_id, rewriting=2))

    async def supersede() -> Any:
        return await far_store.turns.supersede(edit)

    gone = await losing_the_reply(way, far_store, marker, supersede)
    assert [turn.n for turn in gone] == [2, 3]
    conversation = await far_store.conversations.get(conversation_id, USER)
    assert conversation.position == Position(revision=1, turn=2, answers=1)


async def test_a_claim_whose_reply_was_lost_is_not_given_twice(
    way: LossyWay, far_store: Store
) -> None:
    # Its claimant can't tell its own lost claim from one it made meanwhile: the lease decides.
    turn = await inserted(far_store, a_turn("c1"))

    async def claim() -> Any:
        return await far_store.turns.claim(turn, "mark:1", lease_ms=1)

    assert await losing_the_reply(way, far_store, "mark:1", claim) is None
    [adrift] = await wait_until(lambda: far_store.turns.adrift(5), "the lost claim's lease is over")
    assert adrift == msgspec.structs.replace(turn, status="running", attempt=1, owner="mark:1")
    assert (await claimed(far_store, adrift, OTHER)).attempt == 2


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mongodb://db.example:27017", "MongoDB at db.example:27017, database chat"),
        ("mongodb://u:p%40ss@a:1,b:2/chat?w=1", "MongoDB at a:1,b:2, database chat"),
        ("mongodb+srv://u:pass@cluster.example/?x=y@z", "MongoDB, database chat"),
        ("mongodb://u:pa/ss@host/", "MongoDB, database chat"),
        ("mongodb://u:pa?ss@host/", "MongoDB, database chat"),
        ("mongodb://u:pa@ss@host/", "MongoDB, database chat"),
        ("pass", "MongoDB, database chat"),
    ],
)
def test_its_description_names_the_hosts_and_never_a_password(uri: str, shown: str) -> None:
    assert MongoStore(uri, "chat").description == shown


@pytest.mark.parametrize(
    "uri", ["mongodb://", "mongodb://u:pa@ss@host/", "mongodb://h:pass", "x://pass"]
)
async def test_a_connection_string_that_wont_do_is_refused_without_repeating_it(uri: str) -> None:
    with pytest.raises(RememberingError, match="connection string") as refusal:
        await MongoStore(uri, "chat").connect()
    assert not isinstance(refusal.value, Unavailable)
    assert "pa" not in str(refusal.value)


async def test_a_closed_store_is_unavailable_and_opens_again(
    mongod: Mongod, mongo_database: str
) -> None:
    store = MongoStore(mongod.uri, mongo_database)
    with pytest.raises(Unavailable, match="not open"):
        await store.ping()
    async with connected(store):
        await store.connect()
        kept = await inserted(store, a_turn("c1"))
    with pytest.raises(Unavailable, match="not open"):
        await store.turns.insert(a_turn("c2"), lease_ms=LEASE)
    async with connected(store):
        assert await store.turns.last("c1") == kept
