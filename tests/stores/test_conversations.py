"""Conversations: whose they are, their order, their counters and their end."""

from __future__ import annotations

import asyncio

import pytest

from memory.errors import NotFound, Taken
from memory.records import Conversation, Position, Summary
from stores.contract import Store
from tests.stores.samples import (
    USER,
    a_conversation,
    a_turn,
    an_exchange,
    inserted,
    new_id,
)

STRANGER = "user-2"


async def test_a_created_conversation_reads_back_as_it_was_given(store: Store) -> None:
    made, was_made = await store.conversations.create("c", USER, "Title", digest="d", at=5)
    assert was_made
    assert made == Conversation(
        id="c", user_id=USER, title="Title", created_at=5, updated_at=5, digest="d"
    )
    assert await store.conversations.get("c", USER) == made


async def test_creating_again_with_the_same_digest_gives_what_is_there(store: Store) -> None:
    await store.conversations.create("c", USER, "Title", digest="d", at=5)
    again, was_made = await store.conversations.create("c", USER, "Title", digest="d", at=9)
    assert (again.created_at, was_made) == (5, False)


async def test_creating_again_without_a_digest_gives_what_a_first_message_made(
    store: Store,
) -> None:
    await store.conversations.create("c", USER, "", digest=None, at=5)
    again, was_made = await store.conversations.create("c", USER, "", digest=None, at=9)
    assert (again.created_at, was_made) == (5, False)


async def test_twenty_creations_at_once_make_one_conversation(store: Store) -> None:
    made = await asyncio.gather(
        *(store.conversations.create("c", USER, "", digest="d", at=at) for at in range(20))
    )
    assert [was_made for _, was_made in made].count(True) == 1
    assert len({conversation.created_at for conversation, _ in made}) == 1


@pytest.mark.parametrize(("user", "digest"), [(USER, "other"), (USER, None), (STRANGER, "d")])
async def test_an_id_in_use_is_taken_for_any_other_request(
    store: Store, user: str, digest: str | None
) -> None:
    await store.conversations.create("c", USER, "", digest="d", at=5)
    with pytest.raises(Taken):
        await store.conversations.create("c", user, "", digest=digest, at=6)
    assert (await store.conversations.get("c", USER)).digest == "d"


async def test_a_strangers_look_and_one_at_nothing_find_nothing(store: Store) -> None:
    conversation_id = await a_conversation(store)
    for looked_for, user in ((conversation_id, STRANGER), (new_id(), USER)):
        with pytest.raises(NotFound):
            await store.conversations.get(looked_for, user)


async def test_the_list_is_the_users_own_by_newest_activity(store: Store) -> None:
    old, new, newest = [await a_conversation(store, at=at) for at in (10, 20, 30)]
    await a_conversation(store, STRANGER, at=40)
    await store.conversations.touch(a_turn(old, created_at=50))
    listed = await store.conversations.list(USER, before=None, limit=10)
    assert [conversation.id for conversation in listed] == [old, newest, new]


async def test_paging_through_the_list_meets_each_conversation_once_also_within_a_millisecond(
    store: Store,
) -> None:
    made = {await a_conversation(store, at=at // 3) for at in range(11)}
    seen: list[Conversation] = []
    before = None
    while page := await store.conversations.list(USER, before=before, limit=2):
        seen += page
        before = (page[-1].updated_at, page[-1].id)
    assert len(seen) == len(made)
    assert {conversation.id for conversation in seen} == made
    order = [(conversation.updated_at, conversation.id) for conversation in seen]
    assert order == sorted(order, reverse=True)


async def test_a_new_title_is_no_activity(store: Store) -> None:
    conversation_id = await a_conversation(store, at=7)
    renamed = await store.conversations.rename(conversation_id, USER, "New")
    assert (renamed.title, renamed.updated_at) == ("New", 7)
    assert await store.conversations.get(conversation_id, USER) == renamed


async def test_only_its_owner_renames_or_deletes_a_conversation(store: Store) -> None:
    conversation_id = await a_conversation(store)
    with pytest.raises(NotFound):
        await store.conversations.rename(conversation_id, STRANGER, "Mine")
    with pytest.raises(NotFound):
        await store.conversations.delete(conversation_id, STRANGER)
    assert (await store.conversations.get(conversation_id, USER)).title == ""


async def test_a_touch_only_ever_raises_the_turn_and_the_time(store: Store) -> None:
    conversation_id = await a_conversation(store, at=10)
    later = await store.conversations.touch(a_turn(conversation_id, 5, created_at=50))
    assert (later.position, later.updated_at) == (Position(turn=5), 50)
    earlier = await store.conversations.touch(a_turn(conversation_id, 4, created_at=40))
    assert (earlier.position, earlier.updated_at) == (Position(turn=5), 50)


@pytest.mark.parametrize("revision", [1, 3])
async def test_a_touch_of_another_revision_leaves_the_turn_alone(
    store: Store, revision: int
) -> None:
    conversation_id = await a_conversation(store, at=10)
    other = a_turn(conversation_id, 5, revision=revision, created_at=50)
    touched = await store.conversations.touch(other, title="words")
    assert (touched.position, touched.updated_at, touched.title) == (Position(), 50, "words")


async def test_a_touch_counts_places_and_not_numbers(store: Store) -> None:
    conversation_id = await a_conversation(store)
    touched = await store.conversations.touch(a_turn(conversation_id, 5, place=3))
    assert touched.position == Position(turn=3)


async def test_a_touch_gives_a_title_only_where_there_is_none(store: Store) -> None:
    conversation_id = await a_conversation(store)
    untitled = await store.conversations.touch(a_turn(conversation_id))
    assert untitled.title == ""
    first = await store.conversations.touch(a_turn(conversation_id), title="$turn")
    assert first.title == "$turn"
    second = await store.conversations.touch(a_turn(conversation_id, 2), title="second")
    assert second.title == "$turn"


async def test_positions_are_given_of_those_that_are_there(store: Store) -> None:
    first, second, deleted = [await a_conversation(store) for _ in range(3)]
    await an_exchange(store, first, 1)
    await store.conversations.delete(deleted, USER)
    positions = await store.conversations.positions([first, second, deleted, new_id()])
    assert positions == {first: Position(turn=1, answers=1), second: Position()}
    assert await store.conversations.positions([]) == {}


async def test_positions_of_very_many_are_given(store: Store) -> None:
    many: list[str] = []
    for _ in range(11):  # all at once would take a slow machine longer than one operation may
        many += await asyncio.gather(*(a_conversation(store) for _ in range(91)))
    assert await store.conversations.positions(set(many)) == dict.fromkeys(many, Position())


async def test_a_deleted_conversation_is_not_found_by_anything(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await an_exchange(store, conversation_id, 1)
    await store.conversations.delete(conversation_id, USER)
    conversations = store.conversations
    for refused in (
        conversations.get(conversation_id, USER),
        conversations.rename(conversation_id, USER, "New"),
        conversations.touch(a_turn(conversation_id)),
        conversations.delete(conversation_id, USER),
        conversations.create(conversation_id, USER, "", digest=None, at=1),
        store.load(conversation_id, 50),
    ):
        with pytest.raises(NotFound):
            await refused
    assert await conversations.list(USER, before=None, limit=10) == []
    assert await store.messages_after(conversation_id, 0, 10) == []
    summary = Summary(text="too late", upto=2, turns=1, version=1)
    assert not await store.save_summary(conversation_id, summary, revision=0)


async def test_a_tombstones_id_stays_taken_for_others(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await store.conversations.delete(conversation_id, USER)
    await store.conversations.purge(conversation_id)
    with pytest.raises(Taken):
        await store.conversations.create(conversation_id, STRANGER, "", digest=None, at=1)


async def test_deleted_conversations_are_unpurged_until_their_turns_are_gone(
    store: Store,
) -> None:
    first, second, living = [await a_conversation(store) for _ in range(3)]
    for conversation_id in (first, second, living):
        await an_exchange(store, conversation_id, 1)
    await store.conversations.delete(first, USER)
    await store.conversations.delete(second, USER)
    assert sorted(await store.conversations.unpurged(10)) == sorted([first, second])
    assert len(await store.conversations.unpurged(1)) == 1
    await store.conversations.purge(first)
    assert await store.conversations.unpurged(10) == [second]
    assert await store.turns.last(first) is None
    assert await store.turns.last(second) is not None


async def test_purging_leaves_a_living_conversation_alone(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await an_exchange(store, conversation_id, 1)
    await store.conversations.purge(conversation_id)
    await store.conversations.purge(new_id())
    assert await store.turns.last(conversation_id) is not None


async def test_a_purge_removes_more_turns_than_one_step_takes(store: Store) -> None:
    conversation_id = await a_conversation(store)
    turns = [a_turn(conversation_id, n) for n in range(1, 1_002)]
    await asyncio.gather(*(inserted(store, turn) for turn in turns))
    await store.conversations.delete(conversation_id, USER)
    await store.conversations.purge(conversation_id)
    assert await store.turns.before(conversation_id, None, 2_000) == []
    assert await store.turns.by_message(USER, turns[500].question.message_id) is None
    assert await store.conversations.unpurged(10) == []


async def test_a_title_made_for_a_conversation_only_replaces_the_one_it_was_made_for(
    any_store: Store,
) -> None:
    conversation_id = await a_conversation(any_store)
    await any_store.conversations.rename(conversation_id, USER, "hello")
    retitle = any_store.conversations.retitle
    assert await retitle(conversation_id, was="hallo", title="Greetings") is None
    retitled = await retitle(conversation_id, was="hello", title="Greetings")
    assert retitled == await any_store.conversations.get(conversation_id, USER)
    assert (retitled.title, retitled.updated_at) == ("Greetings", 1_000)
    assert await retitle(conversation_id, was="hello", title="Again") is None
    assert await retitle("nowhere", was="", title="Again") is None
    await any_store.conversations.delete(conversation_id, USER)
    assert await retitle(conversation_id, was="Greetings", title="Again") is None
    assert await retitle(conversation_id, was="", title="Again") is None
