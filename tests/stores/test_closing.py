"""Turns that are closed together, in MongoDB: each comes to what it would have come to alone."""

from __future__ import annotations

import asyncio

import pytest

from memory.errors import Unavailable
from memory.records import Position, Turn
from mongo import closing
from mongo.store import MongoStore
from stores.contract import Store
from tests.stores.conftest import connected, near_and_far
from tests.stores.samples import USER, a_conversation, edited, exchanges, finished, sent
from tests.support.mongod import Mongod


async def ended_ones(store: Store, count: int) -> list[Turn]:
    """Each of a conversation of its own, and to be closed yet."""
    conversations = [await a_conversation(store) for _ in range(count)]
    return [
        await finished(store, await sent(store, conversation_id, status="running"))
        for conversation_id in conversations
    ]


async def closed_at_once(store: Store, turns: list[Turn]) -> list[bool | BaseException]:
    return await asyncio.gather(*map(store.turns.close, turns), return_exceptions=True)


async def is_closed(store: Store, turn: Turn) -> bool:
    kept = await store.turns.get(turn.conversation_id, turn.id)
    return kept is None or not kept.open


async def test_one_that_was_deleted_or_edited_takes_nothing_from_the_others(
    mongod: Mongod, mongo_database: str
) -> None:
    async with connected(MongoStore(mongod.uri, mongo_database)) as store:
        plain, deleted, waited_for, edited_before = await ended_ones(store, 4)
        await store.conversations.delete(deleted.conversation_id, USER)
        await sent(store, waited_for.conversation_id)
        await edited(store, edited_before.conversation_id, 1)
        first, *others = await ended_ones(store, 3)
        turns = [first, plain, deleted, waited_for, edited_before, *others]
        outcomes = await closed_at_once(store, turns)
        assert outcomes == [False, False, False, True, True, False, False]
        for turn in turns:
            assert await is_closed(store, turn)
        positions = [
            (await store.conversations.get(turn.conversation_id, USER)).position
            for turn in (first, plain, waited_for, edited_before, *others)
        ]
        one = Position(turn=1, answers=1)
        asked_again, rewritten = Position(turn=2, answers=1), Position(revision=1, turn=1)
        assert positions == [one, one, asked_again, rewritten, one, one]


async def test_of_one_conversation_all_are_closed_and_it_rests(
    mongod: Mongod, mongo_database: str
) -> None:
    async with connected(MongoStore(mongod.uri, mongo_database)) as store:
        conversation_id = await a_conversation(store)
        turns = await exchanges(store, conversation_id, 3)
        assert await closed_at_once(store, turns) == [False] * 3
        rest = store.turns.at_rest(conversation_id)
        assert rest is not None
        assert (rest.n, rest.answers) == (3, 3)


async def test_many_take_three_operations_a_group(
    mongod: Mongod, mongo_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "APART_SECONDS", 0.5)
    async with connected(MongoStore(mongod.uri, mongo_database)) as store:
        turns = await ended_ones(store, 30)
        operations = 0
        operation = store.turns._connection.operation

        def counted() -> object:
            nonlocal operations
            operations += 1
            return operation()

        monkeypatch.setattr(store.turns._connection, "operation", counted)
        assert await closed_at_once(store, turns) == [False] * 30
        assert operations == 3
        monkeypatch.undo()
        assert all([await is_closed(store, turn) for turn in turns])


@pytest.mark.parametrize("marker", [b"$max", b"$set"])
async def test_while_mongodb_is_silent_none_is_said_to_be_closed(
    mongod: Mongod, mongo_database: str, marker: bytes
) -> None:
    async with near_and_far(mongod, mongo_database) as (store, far_store, way):
        turns = await ended_ones(store, 3)
        way.held = marker
        under_way = asyncio.create_task(closed_at_once(far_store, turns))
        await asyncio.wait_for(way.is_holding.wait(), 5)
        way.swallows = True
        way.let_go.set()
        outcomes = await asyncio.wait_for(under_way, 30)
        assert [type(each) for each in outcomes] == [Unavailable] * 3
        way.swallows, way.held = False, None
        # Whoever closes them later repeats it.
        assert await closed_at_once(store, turns) == [False] * 3


async def test_where_others_can_t_be_seen_they_may_be_open(
    mongod: Mongod, mongo_database: str
) -> None:
    async with near_and_far(mongod, mongo_database) as (store, far_store, way):
        [turn] = await ended_ones(store, 1)
        way.lost = b"projection"  # the look, which is asked for with the conversation alone
        assert await far_store.turns.close(turn) is True
        assert way.losses
        assert await is_closed(store, turn)
