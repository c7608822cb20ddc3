"""The short form of the contract, on every store, driver and kind of server."""

from __future__ import annotations

import asyncio

import pytest

from memory.errors import DuplicateMessage, DuplicateNumber, DuplicateRunning, NotFound
from memory.records import Position, Summary
from stores.contract import Store
from tests.stores.samples import (
    LEASE,
    ME,
    OTHER,
    OVER,
    USER,
    a_conversation,
    a_turn,
    an_answer,
    claimed,
    closed,
    edited,
    exchanges,
    finished,
    inserted,
    new_id,
    next_turn,
)


async def test_a_conversation_lives_from_its_first_message_to_its_deletion(
    any_store: Store,
) -> None:
    store = any_store
    await store.ping()
    conversation_id = await a_conversation(store)
    first = await inserted(store, a_turn(conversation_id, 1, status="running"))
    await store.conversations.touch(first, title="first words")
    second = await inserted(store, a_turn(conversation_id, 2))
    await store.conversations.touch(second)
    assert await store.turns.claim(second, ME, lease_ms=LEASE) is None

    ended = await store.turns.finish(first, "completed", an_answer(first, usage={"a.$b": 1}))
    assert ended is not None
    await closed(store, ended)
    second = await claimed(store, second)
    assert await store.turns.renew([first.id, second.id], ME, lease_ms=LEASE) == {second.id: False}
    await store.turns.request_stop(conversation_id, second.id)
    stopped = await store.turns.finish(second, "stopped", an_answer(second, status="stopped"))
    assert stopped is not None
    await closed(store, stopped)

    summary = Summary(text="so far", upto=2, turns=1, version=1)
    assert await store.save_summary(conversation_id, summary, revision=0)
    transcript = await store.load(conversation_id, 50)
    assert [message.seq for message in transcript.messages] == [1, 2, 3, 4]
    assert transcript.summary == summary
    assert transcript.position == Position(revision=0, turn=2, answers=2)
    [listed] = await store.conversations.list(USER, before=None, limit=10)
    assert (listed.title, listed.position) == ("first words", transcript.position)

    await store.conversations.delete(conversation_id, USER)
    await store.conversations.purge(conversation_id)
    assert await store.turns.last(conversation_id) is None
    with pytest.raises(NotFound):
        await store.load(conversation_id, 50)


async def test_a_conversation_is_edited_and_an_answer_made_anew(any_store: Store) -> None:
    store = any_store
    conversation_id = await a_conversation(store)
    first, second, _ = await exchanges(store, conversation_id, 3)
    edit = await inserted(store, await next_turn(store, conversation_id, rewriting=2))
    half_done = await store.load(conversation_id, 50)
    assert [turn.n for turn in await store.turns.supersede(edit)] == [2, 3]
    assert (await store.conversations.touch(edit)).position == half_done.position
    assert await store.load(conversation_id, 50) == half_done
    await closed(store, await finished(store, await claimed(store, edit)))
    await store.turns.close(second)
    [listed] = await store.conversations.list(USER, before=None, limit=10)
    assert listed.position == Position(revision=1, turn=2, answers=2)

    asked = edit.question.message_id
    again = await edited(store, conversation_id, 2, message_id=asked, key="again")
    assert await store.turns.by_message(USER, "again") == again
    replaced = await store.turns.by_message(USER, asked)
    assert replaced is not None
    assert (replaced.id, replaced.superseded) == (edit.id, True)
    assert await store.turns.before(conversation_id, 3, 9) == [first, again]
    assert await store.turns.at_place(conversation_id, 2) == again
    positions = await store.conversations.positions([conversation_id])
    assert positions == {conversation_id: Position(revision=2, turn=2, answers=1)}
    with pytest.raises(DuplicateNumber):
        await store.turns.insert(a_turn(conversation_id, 4), lease_ms=LEASE)


async def test_a_dead_servers_turn_is_found_adrift_and_taken_over(any_store: Store) -> None:
    conversation_id = await a_conversation(any_store)
    await inserted(any_store, a_turn(conversation_id, status="running"), OVER)
    [adrift] = await any_store.turns.adrift(10)
    assert (await claimed(any_store, adrift, OTHER)).attempt == 2
    assert await any_store.turns.adrift(10) == []
    assert await any_store.turns.release("slot-2") == 1
    assert [turn.attempt for turn in await any_store.turns.adrift(10)] == [2]


async def test_what_an_insert_collides_with_is_told_apart(any_store: Store) -> None:
    conversation_id = await a_conversation(any_store)
    first = await inserted(any_store, a_turn(conversation_id, 1, status="running"))
    with pytest.raises(DuplicateMessage):
        await any_store.turns.insert(first, lease_ms=LEASE)
    with pytest.raises(DuplicateNumber):
        await any_store.turns.insert(a_turn(conversation_id, 1), lease_ms=LEASE)
    with pytest.raises(DuplicateRunning):
        await any_store.turns.insert(a_turn(conversation_id, 2, status="running"), lease_ms=LEASE)


async def test_hundred_inserts_at_once_each_arrive(any_store: Store) -> None:
    turns = [a_turn(new_id()) for _ in range(100)]
    await asyncio.gather(*(any_store.turns.insert(turn, lease_ms=LEASE) for turn in turns))
    for turn in turns:
        assert await any_store.turns.get(turn.conversation_id, turn.id) == turn


async def test_a_secret_is_made_once(any_store: Store) -> None:
    made = await asyncio.gather(*(any_store.secret("guests") for _ in range(10)))
    assert len(set(made)) == 1
    assert len(made[0]) >= 32
    assert await any_store.secret("another") != made[0]
