"""What was used, added up: one suite for both stores."""

from __future__ import annotations

from typing import Any

import pytest

from memory.records import Turn, TurnStatus
from stores.contract import Store
from stores.usage import DAY_MS, MOST_TOKENS, Days, Used, day_of, used_by
from tests.stores.samples import (
    USER,
    a_conversation,
    a_turn,
    an_answer,
    edited,
    inserted,
    sent,
)

DAY = 20_000
OTHER_USER = "user-2"


async def answered(
    store: Store,
    conversation_id: str,
    n: int,
    usage: dict[str, Any] | None,
    *,
    at: int = DAY * DAY_MS,
    status: TurnStatus = "completed",
    user_id: str = USER,
) -> Turn:
    """A whole turn, asked at this moment, whose answer used so much."""
    turn = a_turn(conversation_id, n, status="running", user_id=user_id, created_at=at)
    await inserted(store, turn)
    await store.conversations.touch(turn)
    ended = await store.turns.finish(turn, status, an_answer(turn, usage=usage))
    assert ended is not None
    await store.turns.close(ended)
    return ended


def tokens(asked: int, said: int) -> dict[str, Any]:
    """As a provider tells it, and a little more."""
    more = {"input_token_details": {"cache_read": 1}, "a.dotted $name": {"total_tokens": 7}}
    return {"input_tokens": asked, "output_tokens": said, "total_tokens": asked + said, **more}


def used(turns: int, asked: int, said: int) -> Used:
    return Used(turns, asked, said, asked + said)


async def test_a_users_days_are_added_up_over_conversations(any_store: Store) -> None:
    first, second = await a_conversation(any_store), await a_conversation(any_store)
    elsewhere = await a_conversation(any_store, OTHER_USER)
    last_moment, next_day = (DAY + 1) * DAY_MS - 1, (DAY + 1) * DAY_MS
    await answered(any_store, first, 1, tokens(10, 1))
    await answered(any_store, first, 2, tokens(20, 2), at=last_moment)
    await answered(any_store, first, 3, tokens(30, 3), at=next_day)
    await answered(any_store, second, 1, tokens(40, 4), at=next_day, status="stopped")
    await answered(any_store, second, 2, None, at=next_day)
    await answered(any_store, elsewhere, 1, tokens(500, 5), user_id=OTHER_USER)
    usage = any_store.usage
    assert await usage.of_user(USER, DAY) == {DAY: used(2, 30, 3), DAY + 1: used(2, 70, 7)}
    assert await usage.of_user(USER, DAY + 1) == {DAY + 1: used(2, 70, 7)}
    assert await usage.of_user(USER, DAY + 2) == {}
    assert await usage.of_user(OTHER_USER, 0) == {DAY: used(1, 500, 5)}
    assert await usage.of_user("nobody", 0) == {}
    assert await usage.of_conversation(first, 0) == {DAY: used(2, 30, 3), DAY + 1: used(1, 30, 3)}
    assert await usage.of_conversation(second, DAY) == {DAY + 1: used(1, 40, 4)}
    assert await usage.of_conversation(first, DAY + 1) == {DAY + 1: used(1, 30, 3)}
    assert await usage.of_conversation("nowhere", 0) == {}


async def test_what_an_edit_replaced_was_paid_for(store: Store) -> None:
    conversation_id = await a_conversation(store)
    for n in (1, 2):
        await answered(store, conversation_id, n, tokens(10, 1))
    edit = await edited(store, conversation_id, 1, status="running", created_at=DAY * DAY_MS)
    ended = await store.turns.finish(edit, "completed", an_answer(edit, usage=tokens(5, 5)))
    assert ended is not None
    await sent(store, conversation_id)
    for days in (
        await store.usage.of_user(USER, 0),
        await store.usage.of_conversation(conversation_id, 0),
    ):
        assert days == {DAY: used(3, 25, 7)}


async def test_what_a_deleted_conversation_used_still_counts(any_store: Store) -> None:
    store = any_store
    kept, gone = await a_conversation(store), await a_conversation(store)
    await answered(store, kept, 1, tokens(10, 1))
    await answered(store, gone, 1, tokens(20, 2))
    await answered(store, gone, 2, tokens(30, 3), at=(DAY + 1) * DAY_MS)
    before = await store.usage.of_user(USER, 0)
    assert before == {DAY: used(2, 30, 3), DAY + 1: used(1, 30, 3)}
    await store.conversations.delete(gone, USER)
    assert await store.usage.of_user(USER, 0) == before  # not purged yet
    for _ in range(2):
        await store.conversations.purge(gone)
        assert await store.usage.of_user(USER, 0) == before
        assert await store.usage.of_user(USER, DAY + 1) == {DAY + 1: used(1, 30, 3)}
    assert await store.usage.of_conversation(gone, 0) == {}


async def test_a_purge_that_was_broken_off_and_goes_on_counts_once(
    two_stores: tuple[Store, Store],
) -> None:
    first, second = two_stores
    conversation_id = await a_conversation(first)
    turns = [await answered(first, conversation_id, n, tokens(10, 1)) for n in (1, 2, 3)]
    await first.conversations.delete(conversation_id, USER)
    # As a server leaves it that dies in the middle: kept, and some of the turns gone.
    keeping: Any = first.usage
    await keeping.keep(conversation_id, USER)
    await first.turns.remove(turns[0])
    whole = {DAY: used(3, 30, 3)}
    assert await second.usage.of_user(USER, 0) == whole
    await second.conversations.purge(conversation_id)
    assert await first.usage.of_user(USER, 0) == whole


async def test_many_conversations_are_read_in_parts(store: Store) -> None:
    expected: Days = {}
    for i in range(120):
        conversation_id = await a_conversation(store)
        at = (DAY + i % 3) * DAY_MS + i
        await answered(store, conversation_id, 1, tokens(i, 1), at=at)
        day = day_of(at)
        expected[day] = expected.get(day, Used()) + used(1, i, 1)
    assert await store.usage.of_user(USER, DAY) == expected


async def test_servers_note_what_all_users_spent_together(
    two_stores: tuple[Store, Store],
) -> None:
    first, second = (store.usage for store in two_stores)
    assert await first.note_spent("a:1", DAY, 0) == 0
    assert await first.note_spent("a:1", DAY, 100) == 100
    assert await second.note_spent("b:1", DAY, 30) == 130
    assert await first.note_spent("a:1", DAY, 150) == 180
    assert await second.note_spent("a:1", DAY, 120) == 180  # it only rises
    assert await second.note_spent("b:1", DAY, 0) == 180
    assert await first.note_spent("a:2", DAY + 1, 7) == 7
    assert await first.note_spent("a:2", DAY, 0) == 180  # a server whose clock is behind
    await first.note_spent("a:2", DAY + 3, 1)
    assert await second.note_spent("b:1", DAY, 0) == 0  # forgotten
    assert await second.note_spent("b:1", DAY + 1, 0) == 7


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Used()),
        ({}, Used()),
        ({"input_tokens": 3, "output_tokens": 4}, Used(1, 3, 4, 7)),
        ({"input_tokens": 3, "output_tokens": 4, "total_tokens": 9}, Used(1, 3, 4, 9)),
        ({"input_tokens": "3", "output_tokens": None, "total_tokens": 1.5}, Used(1, 0, 0, 0)),
        ({"input_tokens": True, "output_tokens": -4}, Used(1, 0, 0, 0)),
        ({"total_tokens": 10**30}, Used(1, 0, 0, MOST_TOKENS)),
        ({"something": "else"}, Used(1, 0, 0, 0)),
    ],
)
def test_a_provider_may_tell_anything(usage: dict[str, Any] | None, expected: Used) -> None:
    assert used_by(usage) == expected
