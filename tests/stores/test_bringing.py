"""Turns that have ended elsewhere, and are brought as they are."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from memory.errors import Duplicate, NotFound
from memory.records import Feedback, Position, Turn
from stores.contract import Store
from tests.stores.samples import (
    USER,
    a_conversation,
    a_turn,
    an_answer,
    edited,
    exchanges,
    inserted,
    new_id,
    sent,
)


def brought(conversation_id: str, count: int, first: int = 1) -> list[Turn]:
    return [
        ended(a_turn(conversation_id, n, attempt=1), answers=n) for n in range(first, first + count)
    ]


def ended(turn: Turn, **fields: Any) -> Turn:
    """The last has no answer."""
    fields = {"status": "completed", "answer": an_answer(turn), **fields}
    return msgspec.structs.replace(turn, open=False, accepted="running", **fields)


async def test_they_are_read_as_they_were_given_and_counted(store: Store) -> None:
    conversation_id = await a_conversation(store, at=1)
    turns = brought(conversation_id, 3)
    turns[1] = ended(turns[1], status="failed", feedback=Feedback(value=-1, comment="no", at=3))
    turns.append(ended(a_turn(conversation_id, 4), status="stopped", answer=None, answers=3))
    await store.turns.bring(turns, at=5_000)
    assert await store.turns.since(conversation_id, 1, 10) == turns
    assert await store.turns.since(conversation_id, 2, 2) == turns[1:3]
    assert await store.turns.open_turns(conversation_id) == []
    conversation = await store.conversations.get(conversation_id, USER)
    assert conversation.position == Position(turn=4, answers=3)
    assert conversation.updated_at == 5_000
    loaded = await store.load(conversation_id, 50)
    assert loaded.position == conversation.position
    assert len(loaded.messages) == 7


async def test_to_bring_them_again_changes_nothing_and_goes_on_where_it_broke_off(
    two_stores: tuple[Store, Store],
) -> None:
    here, there = two_stores
    conversation_id = await a_conversation(here)
    turns = brought(conversation_id, 120)
    await here.turns.bring(turns[:70], at=5_000)
    await asyncio.gather(*(each.turns.bring(turns, at=5_000) for each in (here, there, here)))
    assert await there.turns.since(conversation_id, 1, 200) == turns
    conversation = await there.conversations.get(conversation_id, USER)
    assert conversation.position == Position(turn=120, answers=120)


async def test_a_conversation_goes_on_after_them(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await store.turns.bring(brought(conversation_id, 2), at=5_000)
    turn = await sent(store, conversation_id, status="running")
    assert (turn.n, turn.place) == (3, 3)
    finished = await store.turns.finish(turn, "completed", an_answer(turn))
    assert finished is not None
    assert finished.answers == 3
    edit = await edited(store, conversation_id, 1)
    assert [each.id for each in await store.turns.since(conversation_id, 1, 10)] == [edit.id]


async def test_what_has_their_place_stays(store: Store) -> None:
    conversation_id = await a_conversation(store)
    [kept] = await exchanges(store, conversation_id, 1)
    with pytest.raises(Duplicate):
        await store.turns.bring(brought(conversation_id, 2), at=5_000)
    assert (await store.turns.since(conversation_id, 1, 10))[0] == kept
    other = brought(conversation_id, 1, first=5)
    await store.turns.bring(other, at=5_000)
    changed = [msgspec.structs.replace(other[0], digest="another")]
    with pytest.raises(Duplicate):
        await store.turns.bring(changed, at=5_000)
    assert await store.turns.get(conversation_id, other[0].id) == other[0]


async def test_a_deleted_conversation_takes_none_of_them(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await store.conversations.delete(conversation_id, USER)
    await store.conversations.purge(conversation_id)
    for gone in (conversation_id, new_id()):
        turns = brought(gone, 2)
        with pytest.raises(NotFound):
            await store.turns.bring(turns, at=5_000)
        assert [await store.turns.get(gone, turn.id) for turn in turns] == [None, None]


async def test_nothing_open_and_nothing_rewritten_is_brought(store: Store) -> None:
    conversation_id = await a_conversation(store)
    [turn] = brought(conversation_id, 1)
    for fields in ({"open": True}, {"status": "running"}, {"revision": 1}, {"rewrites": True}):
        with pytest.raises(ValueError, match=r"end|ended"):
            await store.turns.bring([msgspec.structs.replace(turn, **fields)], at=1)
    await store.turns.bring([], at=1)
    assert await store.turns.since(conversation_id, 1, 10) == []


async def test_turns_from_a_place_on_are_the_current_ones(store: Store) -> None:
    conversation_id = await a_conversation(store)
    first, *_ = await exchanges(store, conversation_id, 3)
    edit = await edited(store, conversation_id, 2)
    waiting = await inserted(store, a_turn(conversation_id, 5, place=3, revision=1))
    found = await store.turns.since(conversation_id, 1, 10)
    assert [turn.id for turn in found] == [first.id, edit.id, waiting.id]
    assert await store.turns.since(conversation_id, 4, 10) == []
