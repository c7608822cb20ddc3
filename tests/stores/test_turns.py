"""Turns: inserting them at once and in order, and reading them."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from memory.errors import Duplicate, DuplicateMessage, DuplicateNumber, DuplicateRunning
from memory.records import Turn, messages_of
from stores.contract import Store
from tests.stores.samples import (
    LEASE,
    USER,
    a_conversation,
    a_turn,
    an_exchange,
    inserted,
    new_id,
)


async def outcome(store: Store, turn: Turn) -> str:
    try:
        await store.turns.insert(turn, lease_ms=LEASE)
    except Duplicate as error:
        return type(error).__name__
    return "inserted"


async def test_an_inserted_turn_reads_back_as_it_was_given(store: Store) -> None:
    conversation_id = await a_conversation(store)
    turn = await inserted(store, a_turn(conversation_id, status="running", revision=3))
    assert await store.turns.get(conversation_id, turn.id) == turn
    assert await store.turns.by_message(USER, turn.question.message_id) == turn
    assert await store.turns.last(conversation_id) == turn


async def test_a_rewriting_turn_reads_back_as_it_was_given(store: Store) -> None:
    conversation_id = await a_conversation(store)
    turn = await inserted(
        store, a_turn(conversation_id, 7, place=3, revision=2, rewrites=True, key="call")
    )
    assert (turn.place, turn.question.call_key) == (3, "call")
    assert await store.turns.get(conversation_id, turn.id) == turn
    assert [message.seq for message in messages_of(turn)] == [5]


async def test_a_turn_is_found_by_its_key_where_that_is_not_its_message(store: Store) -> None:
    conversation_id = await a_conversation(store)
    asked = await inserted(store, a_turn(conversation_id, 1, message_id="m"))
    again = await inserted(store, a_turn(conversation_id, 2, message_id="m", key="call"))
    assert await store.turns.by_message(USER, "m") == asked
    assert await store.turns.by_message(USER, "call") == again
    assert await outcome(store, a_turn("c2", message_id="call")) == "DuplicateMessage"
    assert await outcome(store, a_turn("c2", message_id="other", key="m")) == "DuplicateMessage"
    assert await outcome(store, a_turn(conversation_id, 2, key="call")) == "DuplicateMessage"


async def test_a_turn_is_found_only_by_its_own_conversation_and_user(store: Store) -> None:
    turn = await inserted(store, a_turn(await a_conversation(store)))
    assert await store.turns.get(new_id(), turn.id) is None
    assert await store.turns.get(turn.conversation_id, new_id()) is None
    assert await store.turns.by_message("user-2", turn.question.message_id) is None
    assert await store.turns.by_message(USER, new_id()) is None


async def test_a_message_id_serves_once_a_user_in_whatever_conversation(store: Store) -> None:
    turn = await inserted(store, a_turn("c1"))
    message_id = turn.question.message_id
    with pytest.raises(DuplicateMessage):
        await store.turns.insert(a_turn("c2", message_id=message_id), lease_ms=LEASE)
    theirs = a_turn("c2", message_id=message_id, user_id="user-2")
    await store.turns.insert(theirs, lease_ms=LEASE)
    assert await store.turns.by_message("user-2", message_id) == theirs


async def test_a_number_serves_once_a_conversation(store: Store) -> None:
    await inserted(store, a_turn("c1", 1))
    with pytest.raises(DuplicateNumber):
        await store.turns.insert(a_turn("c1", 1), lease_ms=LEASE)
    await store.turns.insert(a_turn("c2", 1), lease_ms=LEASE)


async def test_one_turn_of_a_conversation_runs(store: Store) -> None:
    await inserted(store, a_turn("c1", 1, status="running"))
    with pytest.raises(DuplicateRunning):
        await store.turns.insert(a_turn("c1", 2, status="running"), lease_ms=LEASE)
    await store.turns.insert(a_turn("c1", 2), lease_ms=LEASE)
    await store.turns.insert(a_turn("c2", 1, status="running"), lease_ms=LEASE)


async def test_where_several_keys_are_taken_the_message_is_named_before_the_number(
    store: Store,
) -> None:
    first = await inserted(store, a_turn("c1", 1, status="running"))
    again = a_turn("c1", 2, status="running", message_id=first.question.message_id)
    assert await outcome(store, again) == "DuplicateMessage"
    again = a_turn("c1", 1, message_id=first.question.message_id)
    assert await outcome(store, again) == "DuplicateMessage"
    assert await outcome(store, a_turn("c1", 1, status="running")) == "DuplicateNumber"


async def test_the_same_insert_repeated_is_a_duplicate_message(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"))
    assert await outcome(store, turn) == "DuplicateMessage"
    assert await store.turns.get("c1", turn.id) == turn


async def test_another_turn_under_a_used_id_changes_nothing(store: Store) -> None:
    turn = await inserted(store, a_turn("c1"))
    assert await outcome(store, a_turn("c2", id=turn.id)) == "Duplicate"
    assert await store.turns.get("c1", turn.id) == turn


async def test_hundred_inserts_at_once_in_as_many_conversations_all_arrive(store: Store) -> None:
    turns = [a_turn(new_id()) for _ in range(100)]
    await asyncio.gather(*(inserted(store, turn) for turn in turns))
    kept = await asyncio.gather(*(store.turns.last(turn.conversation_id) for turn in turns))
    assert kept == turns


async def test_of_twenty_inserts_of_one_message_at_once_one_arrives(
    two_stores: tuple[Store, Store],
) -> None:
    turns = [a_turn("c1", n, message_id="m") for n in range(1, 21)]
    outcomes = await asyncio.gather(
        *(outcome(two_stores[turn.n % 2], turn) for turn in turns),
    )
    assert Counter(outcomes) == {"inserted": 1, "DuplicateMessage": 19}
    winner = turns[outcomes.index("inserted")]
    assert await two_stores[0].turns.by_message(USER, "m") == winner
    assert await two_stores[1].turns.before("c1", None, 50) == [winner]


async def test_of_twenty_inserts_at_one_number_at_once_one_arrives(
    two_stores: tuple[Store, Store],
) -> None:
    outcomes = await asyncio.gather(
        *(outcome(two_stores[i % 2], a_turn("c1", 1)) for i in range(20))
    )
    assert Counter(outcomes) == {"inserted": 1, "DuplicateNumber": 19}


async def test_of_twenty_running_turns_inserted_at_once_one_runs(
    two_stores: tuple[Store, Store],
) -> None:
    turns = [a_turn("c1", n, status="running") for n in range(1, 21)]
    outcomes = await asyncio.gather(*(outcome(two_stores[turn.n % 2], turn) for turn in turns))
    assert Counter(outcomes) == {"inserted": 1, "DuplicateRunning": 19}


async def test_in_one_group_of_writes_each_caller_gets_its_own_outcome(store: Store) -> None:
    taken = await inserted(store, a_turn("c1", 1, status="running"))
    bad = a_turn("c9", content="\ud800")
    outcomes = await asyncio.gather(
        outcome(store, a_turn("c2", 1)),
        outcome(store, a_turn("c3", 1, message_id=taken.question.message_id)),
        outcome(store, a_turn("c1", 1)),
        outcome(store, a_turn("c1", 2, status="running")),
        outcome(store, bad),
        outcome(store, a_turn("c1", 3)),
        return_exceptions=True,
    )
    assert isinstance(outcomes.pop(4), ValueError)
    assert outcomes == [
        "inserted",
        "DuplicateMessage",
        "DuplicateNumber",
        "DuplicateRunning",
        "inserted",
    ]


async def test_a_cancelled_caller_takes_nobody_elses_insert_with_it(store: Store) -> None:
    turns = [a_turn(new_id()) for _ in range(30)]
    inserts = [asyncio.create_task(inserted(store, turn)) for turn in turns]
    await asyncio.sleep(0)  # all of them wait now, or are on their way
    for insert in inserts[::3]:
        insert.cancel()
    await asyncio.gather(*inserts, return_exceptions=True)
    for turn, insert in zip(turns, inserts, strict=True):
        if not insert.cancelled():
            assert await store.turns.get(turn.conversation_id, turn.id) == turn
    assert sum(insert.cancelled() for insert in inserts) == 10


async def test_reading_before_a_number_gives_the_latest_of_them_ascending(store: Store) -> None:
    for n in range(1, 7):
        await an_exchange(store, "c1", n)
    await an_exchange(store, "c2", 1)

    async def numbers(number: int | None, limit: int) -> list[int]:
        return [turn.n for turn in await store.turns.before("c1", number, limit)]

    assert await numbers(None, 3) == [4, 5, 6]
    assert await numbers(5, 3) == [2, 3, 4]
    assert await numbers(3, 10) == [1, 2]
    assert await numbers(1, 10) == []


async def test_open_turns_come_ascending_and_without_the_closed(store: Store) -> None:
    await an_exchange(store, "c1", 1)
    third, second = a_turn("c1", 3), a_turn("c1", 2, status="running")
    await inserted(store, third)
    await inserted(store, second)
    assert await store.turns.open_turns("c1") == [second, third]
    assert await store.turns.open_turns("c2") == []


async def test_a_removed_turn_is_gone_and_its_number_and_message_are_free(store: Store) -> None:
    turn = await inserted(store, a_turn("c1"))
    await store.turns.remove(turn)
    await store.turns.remove(turn)
    assert await store.turns.last("c1") is None
    await store.turns.insert(turn, lease_ms=LEASE)
