"""Where a process last saw a conversation come to rest: good to place the next turn by, or refused.

MongoDB alone: the embedded store keeps nothing in mind.
"""

from __future__ import annotations

import asyncio

import pytest

from memory.errors import DuplicateNumber
from mongo.store import MongoStore
from stores.contract import Rest
from tests.stores.conftest import connected, near_and_far
from tests.stores.samples import (
    a_conversation,
    a_turn,
    an_exchange,
    claimed,
    closed,
    edited,
    exchanges,
    finished,
    inserted,
    sent,
)
from tests.support.mongod import Mongod


async def test_it_is_the_last_turn_once_nothing_is_open(
    mongod: Mongod, mongo_database: str
) -> None:
    async with connected(MongoStore(mongod.uri, mongo_database)) as store:
        conversation_id = await a_conversation(store)
        await exchanges(store, conversation_id, 2)
        assert store.turns.at_rest(conversation_id) == Rest(2, 2, 0, 2)
        await sent(store, conversation_id)
        assert store.turns.at_rest(conversation_id) is None


async def test_it_is_not_at_rest_while_an_earlier_one_is_open(
    mongod: Mongod, mongo_database: str
) -> None:
    async with connected(MongoStore(mongod.uri, mongo_database)) as store:
        conversation_id = await a_conversation(store)
        first = await sent(store, conversation_id, status="running")
        second = await sent(store, conversation_id)
        stopped = await store.turns.request_stop(conversation_id, second.id)
        assert stopped is not None
        await store.turns.close(stopped)
        assert len(await store.turns.open_turns(conversation_id)) == 1
        assert store.turns.at_rest(conversation_id) is None
        await closed(store, await finished(store, first))
        assert await store.turns.open_turns(conversation_id) == []
        assert store.turns.at_rest(conversation_id) == Rest(2, 2, 0, None)


async def test_what_ran_here_brings_it_to_rest_before_it_is_closed(
    mongod: Mongod, mongo_database: str
) -> None:
    async with connected(MongoStore(mongod.uri, mongo_database)) as store:
        conversation_id = await a_conversation(store)
        ended = await finished(store, await sent(store, conversation_id, status="running"))
        assert store.turns.at_rest(conversation_id) is None
        store.turns.comes_to_rest(ended)
        assert store.turns.at_rest(conversation_id) == Rest(1, 1, 0, 1)
        await inserted(store, a_turn(conversation_id, 2, status="running"))
        assert store.turns.at_rest(conversation_id) is None
        await store.turns.close(ended)
        assert len(await store.turns.open_turns(conversation_id)) == 1
        assert store.turns.at_rest(conversation_id) is None


async def test_what_waits_behind_it_has_the_next_number(
    mongod: Mongod, mongo_database: str
) -> None:
    async with connected(MongoStore(mongod.uri, mongo_database)) as store:
        conversation_id = await a_conversation(store)
        running = await sent(store, conversation_id, status="running")
        await sent(store, conversation_id)
        store.turns.comes_to_rest(await finished(store, running))
        with pytest.raises(DuplicateNumber):
            await inserted(store, a_turn(conversation_id, 2, status="running"))
        assert store.turns.at_rest(conversation_id) is None


async def test_a_look_that_began_before_the_end_says_nothing(
    mongod: Mongod, mongo_database: str
) -> None:
    async with near_and_far(mongod, mongo_database) as (store, far_store, way):
        conversation_id = await a_conversation(store)
        way.held = b"open"
        looking = asyncio.create_task(far_store.turns.open_turns(conversation_id))
        await asyncio.wait_for(way.is_holding.wait(), 5)
        way.held = None
        ended = await finished(store, await sent(store, conversation_id, status="running"))
        await store.turns.close(ended)
        far_store.turns._resting.closed(ended)
        way.let_go.set()
        assert await looking == []
        assert far_store.turns.at_rest(conversation_id) is None


@pytest.mark.parametrize("is_edit", [False, True])
async def test_where_others_went_on_the_number_is_refused_and_it_is_forgotten(
    mongod: Mongod, mongo_database: str, is_edit: bool
) -> None:
    async with (
        connected(MongoStore(mongod.uri, mongo_database)) as store,
        connected(MongoStore(mongod.uri, mongo_database)) as other,
    ):
        conversation_id = await a_conversation(store)
        await exchanges(store, conversation_id, 1)
        await store.turns.open_turns(conversation_id)
        if is_edit:
            await edited(other, conversation_id, 1)
        else:
            await an_exchange(other, conversation_id, 2)
        assert store.turns.at_rest(conversation_id) == Rest(1, 1, 0, 1)
        with pytest.raises(DuplicateNumber):
            await inserted(store, a_turn(conversation_id, 2, status="running"))
        assert store.turns.at_rest(conversation_id) is None


async def test_answers_are_counted_on_where_others_have_answered_in_between(
    mongod: Mongod, mongo_database: str
) -> None:
    async with (
        connected(MongoStore(mongod.uri, mongo_database)) as store,
        connected(MongoStore(mongod.uri, mongo_database)) as other,
    ):
        conversation_id = await a_conversation(store)
        await exchanges(store, conversation_id, 1)
        running = await sent(other, conversation_id, status="running")
        await closed(other, await finished(other, running))
        third = await finished(store, await sent(store, conversation_id, status="running"))
        assert third.answers == 3
        await closed(store, third)
        edit = await claimed(store, await edited(other, conversation_id, 2))
        assert (await finished(store, edit)).answers == 2
