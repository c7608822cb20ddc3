"""Edits broken off, and what happens in the middle of them: nobody sees a mixture, nothing is
counted that is gone."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from msgspec.structs import replace

from memory.records import Position, Summary, Turn, messages_of
from server import history
from stores.contract import Store, TurnStore
from tests.stores.conftest import near_and_far
from tests.stores.samples import (
    USER,
    a_conversation,
    claimed,
    closed,
    edited,
    exchanges,
    finished,
    inserted,
    next_turn,
    sent,
)
from tests.support.mongod import Mongod


async def position(store: Store, conversation_id: str) -> Position:
    return (await store.conversations.get(conversation_id, USER)).position


async def half_done(store: Store, conversation_id: str, place: int) -> Turn:
    """An edit whose server died when it was kept, and nothing had followed from it."""
    return await inserted(store, await next_turn(store, conversation_id, rewriting=place))


async def pages(store: Store, conversation_id: str, limit: int) -> list[int | None]:
    """The seqs of the whole history, page by page."""
    seqs: list[int | None] = []
    before, has_more = None, True
    while has_more:
        page, has_more = await history.page(store.turns, conversation_id, before, limit)
        seqs = [message.seq for message in page] + seqs
        before = seqs[0]
    return seqs


async def test_a_half_done_edit_shows_as_if_it_were_done(store: Store) -> None:
    conversation_id = await a_conversation(store)
    first, second, *_ = await exchanges(store, conversation_id, 5)
    edit = await half_done(store, conversation_id, 3)
    transcript = await store.load(conversation_id, 50)
    expected = [*messages_of(first), *messages_of(second), *messages_of(edit)]
    assert transcript.messages == expected
    assert transcript.position == Position(revision=1, turn=3, answers=2)
    assert await store.turns.before(conversation_id, None, 50) == [first, second, edit]
    assert await store.turns.before(conversation_id, 6, 2) == [edit]
    assert await store.turns.before(conversation_id, 4, 1) == [edit]
    assert await store.turns.at_place(conversation_id, 3) == edit
    assert await store.turns.at_place(conversation_id, 4) is None
    for limit in (1, 2, 3, 4, 50):
        assert await pages(store, conversation_id, limit) == [1, 2, 3, 4, 5]
    assert await store.messages_after(conversation_id, 0, 50) == []

    gone = await store.turns.supersede(edit)
    assert [turn.n for turn in gone] == [3, 4, 5]
    assert await store.load(conversation_id, 50) == transcript
    assert await position(store, conversation_id) == transcript.position
    assert await store.messages_after(conversation_id, 0, 50) == expected[:4]


@pytest.mark.parametrize("max_messages", [1, 2, 5, 8, 20, 50])
async def test_the_last_messages_are_complete_also_where_many_are_superseded(
    store: Store, max_messages: int
) -> None:
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 12)
    await half_done(store, conversation_id, 5)
    transcript = await store.load(conversation_id, max_messages)
    expected = list(range(1, 10))[-max_messages:]
    assert [message.seq for message in transcript.messages] == expected
    assert transcript.position == Position(revision=1, turn=5, answers=4)


async def test_messages_follow_a_half_done_edit_without_a_mixture(store: Store) -> None:
    conversation_id = await a_conversation(store)
    first, *_ = await exchanges(store, conversation_id, 5)
    edit = await half_done(store, conversation_id, 2)
    later = [await sent(store, conversation_id) for _ in range(2)]
    assert [turn.place for turn in later] == [3, 4]
    assert (await position(store, conversation_id)).turn == 5  # of the old revision, still
    current = [first, edit, *later]
    assert await store.turns.before(conversation_id, None, 50) == current
    assert await store.turns.before(conversation_id, 4, 4) == [edit, later[0]]
    assert await store.turns.before(conversation_id, 4, 2) == [later[0]]
    assert await store.turns.at_place(conversation_id, 3) == later[0]
    for limit in (1, 2, 3, 50):
        assert await pages(store, conversation_id, limit) == [1, 2, 3, 5, 7]
    transcript = await store.load(conversation_id, 50)
    assert transcript.position == Position(revision=1, turn=4, answers=1)

    # What was accepted before the conversation had the new revision is counted with it.
    await store.turns.supersede(edit)
    assert await position(store, conversation_id) == transcript.position
    assert await store.turns.before(conversation_id, None, 50) == current


async def test_a_page_of_history_read_while_something_is_edited_is_no_mixture(
    store: Store,
) -> None:
    conversation_id = await a_conversation(store)
    for _ in range(6):  # without answers, so that a page takes two reads
        await sent(store, conversation_id)

    class EditedInBetween:
        reads = 0

        async def before(self, name: str, place: int | None, limit: int) -> list[Turn]:
            self.reads += 1
            if self.reads == 2:
                await edited(store, conversation_id, 2)
            return await store.turns.before(name, place, limit)

    turns = EditedInBetween()
    page, has_more = await history.page(cast("TurnStore", turns), conversation_id, None, 4)
    assert turns.reads > 1
    assert ([message.seq for message in page], has_more) == ([1, 3], False)


async def test_an_edit_after_a_half_done_one_makes_up_for_it(store: Store) -> None:
    conversation_id = await a_conversation(store)
    first, *_ = await exchanges(store, conversation_id, 5)
    edit = await half_done(store, conversation_id, 2)
    await sent(store, conversation_id)
    later = await edited(store, conversation_id, 3)
    assert await store.turns.before(conversation_id, None, 50) == [first, edit, later]
    assert await position(store, conversation_id) == Position(revision=2, turn=3, answers=1)
    assert await store.turns.open_turns(conversation_id) == [edit, later]
    # Its own server comes back to it.
    assert [turn.n for turn in await store.turns.supersede(edit)] == [2]
    assert [turn.n for turn in await store.turns.supersede(later)] == [3, 4, 5, 7]
    assert await position(store, conversation_id) == Position(revision=2, turn=3, answers=1)


async def test_a_half_done_edit_that_is_itself_rewritten_needs_nothing_more(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 3)
    edit = await half_done(store, conversation_id, 2)
    later = await edited(store, conversation_id, 1)
    assert [turn.n for turn in await store.turns.supersede(later)] == [1, 2, 3, 4]
    assert await store.turns.supersede(edit) == []
    assert await position(store, conversation_id) == Position(revision=2, turn=1, answers=0)


async def test_superseding_at_once_on_many_servers_is_superseding(
    two_stores: tuple[Store, Store],
) -> None:
    conversation_id = await a_conversation(two_stores[0])
    await exchanges(two_stores[0], conversation_id, 6)
    edit = await half_done(two_stores[0], conversation_id, 3)
    await asyncio.gather(*(two_stores[i % 2].turns.supersede(edit) for i in range(8)))
    assert [turn.n for turn in await two_stores[0].turns.supersede(edit)] == [3, 4, 5, 6]
    expected = Position(revision=1, turn=3, answers=2)
    assert await position(two_stores[1], conversation_id) == expected


async def test_two_edits_brought_along_at_once_leave_the_later_one(
    two_stores: tuple[Store, Store],
) -> None:
    for places in ((2, 1), (3, 3), (2, 4)):
        conversation_id = await a_conversation(two_stores[0])
        await exchanges(two_stores[0], conversation_id, 5)
        first = await half_done(two_stores[0], conversation_id, places[0])
        for _ in range(2):
            await sent(two_stores[0], conversation_id)
        second = await half_done(two_stores[0], conversation_id, places[1])
        await asyncio.gather(
            two_stores[0].turns.supersede(first), two_stores[1].turns.supersede(second)
        )
        loaded = await two_stores[0].load(conversation_id, 50)
        assert loaded.position.revision == 2
        assert loaded.position.turn == places[1]
        assert await position(two_stores[1], conversation_id) == loaded.position


async def test_an_earlier_turn_that_ends_after_an_edit_is_counted(store: Store) -> None:
    conversation_id = await a_conversation(store)
    running = await sent(store, conversation_id, status="running")
    await sent(store, conversation_id)
    edit = await edited(store, conversation_id, 2)
    ended = await finished(store, running)
    assert ended.answers == 1
    await closed(store, ended)
    assert await position(store, conversation_id) == Position(revision=1, turn=2, answers=1)
    answered = await finished(store, await claimed(store, edit))
    assert answered.answers == 2


async def test_a_superseded_turn_that_is_closed_late_is_not_counted(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 1)
    ended = await finished(store, await sent(store, conversation_id, status="running"))
    await edited(store, conversation_id, 2)
    after = await store.conversations.get(conversation_id, USER)
    assert after.position == Position(revision=1, turn=2, answers=1)
    await store.turns.close(ended)
    assert await store.conversations.get(conversation_id, USER) == after


async def test_a_turn_closed_and_superseded_at_once_is_not_counted(
    two_stores: tuple[Store, Store],
) -> None:
    for _ in range(20):
        conversation_id = await a_conversation(two_stores[0])
        await exchanges(two_stores[0], conversation_id, 1)
        running = await sent(two_stores[0], conversation_id, status="running")
        ended = await finished(two_stores[0], running)
        edit = await half_done(two_stores[0], conversation_id, 2)
        await asyncio.gather(two_stores[0].turns.close(ended), two_stores[1].turns.supersede(edit))
        expected = Position(revision=1, turn=2, answers=1)
        assert await position(two_stores[0], conversation_id) == expected
        kept = await two_stores[1].turns.get(conversation_id, ended.id)
        assert kept == replace(ended, open=False, superseded=True)


async def test_a_turn_superseded_between_the_look_and_the_count_is_not_counted(
    mongod: Mongod, mongo_database: str
) -> None:
    # MongoDB alone: in the embedded store there is no between.
    async with near_and_far(mongod, mongo_database) as (store, far_store, way):
        conversation_id = await a_conversation(store)
        await exchanges(store, conversation_id, 1)
        ended = await finished(store, await sent(store, conversation_id, status="running"))
        way.held = b"$max"  # what raises the counters
        closing = asyncio.create_task(far_store.turns.close(ended))
        await asyncio.wait_for(way.is_holding.wait(), 5)
        await edited(store, conversation_id, 2)
        way.held = None
        way.let_go.set()
        await closing
        expected = Position(revision=1, turn=2, answers=1)
        assert await position(store, conversation_id) == expected


async def test_a_turn_superseded_and_closed_before_the_record_follows_is_not_counted(
    mongod: Mongod, mongo_database: str
) -> None:
    async with near_and_far(mongod, mongo_database) as (store, far_store, way):
        conversation_id = await a_conversation(store)
        await exchanges(store, conversation_id, 1)
        ended = await finished(store, await sent(store, conversation_id, status="running"))
        edit = await half_done(store, conversation_id, 2)
        way.held = b"$$REMOVE"  # what gives the conversation its revision
        superseding = asyncio.create_task(far_store.turns.supersede(edit))
        await asyncio.wait_for(way.is_holding.wait(), 5)
        await store.turns.close(ended)
        way.held = None
        way.let_go.set()
        await superseding
        expected = Position(revision=1, turn=2, answers=1)
        assert await position(store, conversation_id) == expected


async def test_a_turn_that_ends_while_an_edit_is_brought_along_is_counted(
    mongod: Mongod, mongo_database: str
) -> None:
    async with near_and_far(mongod, mongo_database) as (store, far_store, way):
        conversation_id = await a_conversation(store)
        running = await sent(store, conversation_id, status="running")
        await sent(store, conversation_id)
        edit = await half_done(store, conversation_id, 2)
        way.held = b"$$REMOVE"  # what gives the conversation its revision
        superseding = asyncio.create_task(far_store.turns.supersede(edit))
        await asyncio.wait_for(way.is_holding.wait(), 5)
        await closed(store, await finished(store, running))
        later = await sent(store, conversation_id)
        way.held = None
        way.let_go.set()
        assert [turn.n for turn in await superseding] == [2]
        assert later.place == 3
        expected = Position(revision=1, turn=3, answers=1)
        assert await position(store, conversation_id) == expected


async def test_a_summary_of_what_a_half_done_edit_changes_does_not_outlive_it(
    store: Store,
) -> None:
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 3)
    page = await store.messages_after(conversation_id, 0, 50)
    edit = await half_done(store, conversation_id, 2)
    # Begun before the edit, and saved before all had followed from it.
    summary = Summary(text="of what is gone", upto=page[-1].seq or 0, turns=3, version=1)
    assert await store.save_summary(conversation_id, summary, revision=0)
    assert (await store.load(conversation_id, 50)).summary is None
    await store.turns.supersede(edit)
    assert (await store.load(conversation_id, 50)).summary is None
    assert not await store.save_summary(conversation_id, summary, revision=0)
