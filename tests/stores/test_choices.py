"""What a conversation is answered with: kept with it, changed by its owner, frozen into turns."""

from __future__ import annotations

import asyncio

import pytest

from memory.errors import NotFound
from memory.records import NO_CHOICE, Choice
from stores.contract import Store
from tests.stores.samples import (
    OTHER,
    USER,
    a_conversation,
    a_turn,
    claimed,
    inserted,
    new_id,
)

LARGER = Choice(model="larger", system_prompt="$pirate")


async def test_a_conversation_is_made_with_its_choice(store: Store) -> None:
    made, _ = await store.conversations.create("c", USER, "", digest="d", at=1, choice=LARGER)
    assert made.choice == LARGER
    assert (await store.conversations.get("c", USER)).choice == LARGER
    [listed] = await store.conversations.list(USER, before=None, limit=1)
    assert listed.choice == LARGER


async def test_each_part_is_changed_by_itself_and_back_to_the_default(store: Store) -> None:
    configure = store.conversations.configure
    conversation_id = await a_conversation(store, at=5)
    assert (await store.conversations.get(conversation_id, USER)).choice == NO_CHOICE
    found = await configure(conversation_id, USER, model="larger")
    assert found.choice == Choice(model="larger")
    found = await configure(conversation_id, USER, system_prompt="$pirate")
    assert found.choice == LARGER
    assert await configure(conversation_id, USER) == found
    found = await configure(conversation_id, USER, model="")
    assert found.choice == Choice(system_prompt="$pirate")
    found = await configure(conversation_id, USER, model="", system_prompt="")
    assert found.choice == NO_CHOICE
    assert found == await store.conversations.get(conversation_id, USER)
    assert found.updated_at == 5


async def test_two_who_change_different_parts_at_once_both_have_their_way(
    two_stores: tuple[Store, Store],
) -> None:
    here, there = two_stores
    for _ in range(5):
        conversation_id = await a_conversation(here)
        await asyncio.gather(
            here.conversations.configure(conversation_id, USER, model="larger"),
            there.conversations.configure(conversation_id, USER, system_prompt="$pirate"),
        )
        assert (await here.conversations.get(conversation_id, USER)).choice == LARGER


async def test_only_its_owner_changes_what_is_there(store: Store) -> None:
    conversation_id = await a_conversation(store)
    for looked_for, user in ((conversation_id, "stranger"), (new_id(), USER)):
        with pytest.raises(NotFound):
            await store.conversations.configure(looked_for, user, model="larger")
    await store.conversations.delete(conversation_id, USER)
    with pytest.raises(NotFound):
        await store.conversations.configure(conversation_id, USER, model="larger")


async def test_a_message_gives_the_conversation_with_its_choice(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await store.conversations.configure(conversation_id, USER, model="larger")
    turn = await inserted(store, a_turn(conversation_id, 1))
    assert (await store.conversations.touch(turn)).choice == Choice(model="larger")


@pytest.mark.parametrize("status", ["queued", "running"])
async def test_a_turn_that_nobody_has_taken_on_is_given_another_choice(
    store: Store, status: str
) -> None:
    conversation_id = await a_conversation(store)
    turn = await inserted(store, a_turn(conversation_id, 1, status=status))
    assert await store.turns.choose(turn, LARGER)
    assert await store.turns.choose(turn, LARGER)
    kept = await store.turns.get(conversation_id, turn.id)
    assert kept is not None
    assert kept.choice == LARGER


async def test_a_turn_that_somebody_has_taken_on_stays_as_it_is(store: Store) -> None:
    conversation_id = await a_conversation(store)
    turn = await inserted(store, a_turn(conversation_id, 1))
    running = await claimed(store, turn, OTHER)
    assert not await store.turns.choose(turn, LARGER)
    assert await store.turns.get(conversation_id, turn.id) == running
    assert not await store.turns.choose(a_turn(conversation_id, 2), LARGER)
