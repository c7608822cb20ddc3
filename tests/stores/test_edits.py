"""Edits and regenerates: what is superseded, what is kept, and what the conversation becomes."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from msgspec.structs import replace

from memory.errors import Duplicate, DuplicateNumber, NotFound
from memory.records import Position, Summary, Turn, messages_of
from stores.contract import Store
from tests.stores.samples import (
    LEASE,
    ME,
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
    next_turn,
    sent,
)


async def position(store: Store, conversation_id: str) -> Position:
    return (await store.conversations.get(conversation_id, USER)).position


def superseded(turn: Turn) -> Turn:
    return replace(turn, superseded=True, open=False)


async def test_an_edit_takes_the_place_of_a_turn_and_of_all_after_it(store: Store) -> None:
    conversation_id = await a_conversation(store)
    first, *others = await exchanges(store, conversation_id, 4)
    edit = await inserted(store, await next_turn(store, conversation_id, rewriting=2))
    assert (edit.n, edit.place, edit.revision) == (5, 2, 1)
    gone = await store.turns.supersede(edit)
    assert gone == [superseded(turn) for turn in others]
    assert await store.turns.last(conversation_id) == edit
    assert await store.turns.before(conversation_id, None, 10) == [first, edit]
    assert await position(store, conversation_id) == Position(revision=1, turn=2, answers=1)
    transcript = await store.load(conversation_id, 50)
    assert transcript.messages == [*messages_of(first), *messages_of(edit)]
    assert transcript.position == Position(revision=1, turn=2, answers=1)


async def test_what_is_superseded_is_kept_and_found_by_its_ids(store: Store) -> None:
    conversation_id = await a_conversation(store)
    [old] = await exchanges(store, conversation_id, 1)
    await edited(store, conversation_id, 1)
    assert await store.turns.get(conversation_id, old.id) == superseded(old)
    assert await store.turns.by_message(USER, old.question.message_id) == superseded(old)


async def test_superseding_again_changes_nothing_and_tells_the_same(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 3)
    edit = await edited(store, conversation_id, 2, status="running")
    gone = await store.turns.supersede(edit)
    assert [turn.n for turn in gone] == [2, 3]
    await closed(store, await finished(store, edit))
    await sent(store, conversation_id)
    after = await store.conversations.get(conversation_id, USER)
    assert after.position == Position(revision=1, turn=3, answers=2)
    assert await store.turns.supersede(edit) == gone
    assert await store.conversations.get(conversation_id, USER) == after


async def test_only_a_rewriting_turn_supersedes(store: Store) -> None:
    conversation_id = await a_conversation(store)
    turn = await inserted(store, a_turn(conversation_id))
    with pytest.raises(ValueError, match="rewrites"):
        await store.turns.supersede(turn)


async def test_superseding_in_a_deleted_conversation_is_not_found(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 1)
    edit = await inserted(store, await next_turn(store, conversation_id, rewriting=1))
    await store.conversations.delete(conversation_id, USER)
    with pytest.raises(NotFound):
        await store.turns.supersede(edit)


async def test_open_turns_from_there_on_are_stopped_and_closed(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 1)
    unclosed = await finished(store, await sent(store, conversation_id, status="running"))
    running = await sent(store, conversation_id, status="running")
    queued = await sent(store, conversation_id)
    # It can't run at once: one that is superseded only in a moment still does.
    edit = await edited(store, conversation_id, 2)
    gone = await store.turns.supersede(edit)
    assert [turn.status for turn in gone] == ["completed", "stopped", "stopped"]
    assert await store.turns.open_turns(conversation_id) == [edit]
    assert await store.turns.get(conversation_id, unclosed.id) == superseded(unclosed)
    assert (await claimed(store, edit)).status == "running"

    assert await store.turns.renew([running.id, queued.id], ME, lease_ms=LEASE) == {}
    assert await store.turns.finish(running, "completed", an_answer(running)) is None
    assert await store.turns.finish(running, "stopped", None) is None
    assert await store.turns.claim(queued, ME, lease_ms=LEASE) is None
    assert await store.turns.request_stop(conversation_id, running.id) == gone[1]
    assert await store.turns.release(ME) == 1  # the edit's


async def test_a_finish_repeated_after_the_turn_was_superseded_finds_nothing(store: Store) -> None:
    conversation_id = await a_conversation(store)
    running = await sent(store, conversation_id, status="running")
    await finished(store, running)
    await edited(store, conversation_id, 1)
    assert await store.turns.finish(running, "completed", an_answer(running)) is None


async def test_of_a_conversation_only_what_is_current_is_adrift(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await inserted(store, a_turn(conversation_id, status="running"), OVER)
    edit = await inserted(store, await next_turn(store, conversation_id, rewriting=1), OVER)
    await store.turns.supersede(edit)
    assert await store.turns.adrift(10) == [edit]


async def test_the_number_of_a_superseded_turn_stays_taken(store: Store) -> None:
    # Whoever read the conversation before the edit must collide with it, however late.
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 2)
    stale = await next_turn(store, conversation_id)
    await sent(store, conversation_id)
    await edited(store, conversation_id, 1, status="running")
    with pytest.raises(DuplicateNumber):
        await store.turns.insert(stale, lease_ms=LEASE)
    with pytest.raises(DuplicateNumber):
        await store.turns.insert(replace(stale, status="running"), lease_ms=LEASE)


async def test_of_a_message_and_edits_at_once_one_is_kept(
    two_stores: tuple[Store, Store],
) -> None:
    conversation_id = await a_conversation(two_stores[0])
    await exchanges(two_stores[0], conversation_id, 2)

    async def outcome(i: int, turn: Turn) -> str:
        try:
            await two_stores[i % 2].turns.insert(turn, lease_ms=LEASE)
        except Duplicate as error:
            return type(error).__name__
        return "kept"

    rivals = [
        await next_turn(two_stores[0], conversation_id, rewriting=rewriting)
        for rewriting in (None, 1, 2, None, 1, 2)
    ]
    outcomes = await asyncio.gather(*(outcome(i, turn) for i, turn in enumerate(rivals)))
    assert Counter(outcomes) == {"kept": 1, "DuplicateNumber": 5}


async def test_a_regenerate_keeps_the_message_and_has_its_own_key(store: Store) -> None:
    conversation_id = await a_conversation(store)
    [old] = await exchanges(store, conversation_id, 1)
    asked = old.question.message_id
    again = await edited(store, conversation_id, 1, message_id=asked, key="again")
    assert await store.turns.by_message(USER, asked) == superseded(old)
    assert await store.turns.by_message(USER, "again") == again
    [message] = (await store.load(conversation_id, 50)).messages
    assert (message.id, message.turn_id, message.seq) == (asked, again.id, 1)


async def test_an_edit_of_the_first_message_leaves_nothing_before_it(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 3)
    edit = await edited(store, conversation_id, 1, status="running")
    assert await position(store, conversation_id) == Position(revision=1, turn=1, answers=0)
    ended = await finished(store, edit)
    assert ended.answers == 1
    await closed(store, ended)
    assert await position(store, conversation_id) == Position(revision=1, turn=1, answers=1)
    transcript = await store.load(conversation_id, 50)
    assert transcript.position == Position(revision=1, turn=1, answers=1)
    assert [message.seq for message in transcript.messages] == [1, 2]


async def test_it_goes_on_from_an_edit_as_from_any_turn(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 3)
    edit = await edited(store, conversation_id, 2, status="running")
    await closed(store, await finished(store, edit))
    after = await sent(store, conversation_id, status="running")
    assert (after.n, after.place, after.revision) == (5, 3, 1)
    assert (await closed(store, await finished(store, after))).answers == 3
    assert await position(store, conversation_id) == Position(revision=1, turn=3, answers=3)
    transcript = await store.load(conversation_id, 50)
    assert [message.seq for message in transcript.messages] == [1, 2, 3, 4, 5, 6]
    assert [message.turn_id for message in transcript.messages[2::2]] == [edit.id, after.id]


async def test_edits_in_a_row_each_supersede_the_one_before(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 3)
    first = await edited(store, conversation_id, 3)
    second = await edited(store, conversation_id, 3)
    third = await edited(store, conversation_id, 2)
    assert (third.n, third.revision) == (6, 3)
    assert [turn.n for turn in await store.turns.supersede(first)] == [3]
    assert [turn.n for turn in await store.turns.supersede(second)] == [4]
    assert [turn.n for turn in await store.turns.supersede(third)] == [2, 5]
    assert await position(store, conversation_id) == Position(revision=3, turn=2, answers=1)
    assert (await store.load(conversation_id, 50)).position == Position(
        revision=3, turn=2, answers=1
    )


async def test_an_edit_far_back_supersedes_more_turns_than_one_step_takes(store: Store) -> None:
    conversation_id = await a_conversation(store)
    turns = [a_turn(conversation_id, n) for n in range(1, 1_002)]
    await asyncio.gather(*(inserted(store, turn) for turn in turns))
    edit = await edited(store, conversation_id, 1)
    gone = await store.turns.supersede(edit)
    assert gone == [replace(superseded(turn), status="stopped") for turn in turns]
    assert await store.turns.open_turns(conversation_id) == [edit]


async def test_places_are_paged_through_and_looked_up_whatever_their_numbers(
    store: Store,
) -> None:
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 6)
    for place, more in ((5, 1), (3, 2)):
        edit = await edited(store, conversation_id, place, status="running")
        await closed(store, await finished(store, edit))
        for _ in range(more):
            turn = await sent(store, conversation_id, status="running")
            await closed(store, await finished(store, turn))
    # Places 1 to 5; the first two are the turns that were there from the beginning.
    current = [1, 2, 9, 10, 11]

    async def numbers(place: int | None, limit: int) -> list[int]:
        return [turn.n for turn in await store.turns.before(conversation_id, place, limit)]

    assert await numbers(None, 9) == current
    assert await numbers(None, 2) == [10, 11]
    assert await numbers(5, 3) == [2, 9, 10]
    assert await numbers(3, 9) == [1, 2]
    assert await numbers(2, 1) == [1]
    assert await numbers(1, 9) == []
    assert await numbers(99, 2) == [10, 11]
    for place, n in enumerate(current, start=1):
        there = await store.turns.at_place(conversation_id, place)
        assert there is not None
        assert (there.n, there.place) == (n, place)
    for place in (0, 6, 7):
        assert await store.turns.at_place(conversation_id, place) is None
    after = await store.messages_after(conversation_id, 3, 4)
    assert [message.seq for message in after] == [4, 5, 6, 7]


@pytest.mark.parametrize(("upto", "stays"), [(1, True), (2, True), (3, False), (6, False)])
async def test_the_summary_goes_exactly_when_it_covers_what_was_rewritten(
    store: Store, upto: int, stays: bool
) -> None:
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 3)
    summary = Summary(text="so far", upto=upto, turns=1, version=1)
    assert await store.save_summary(conversation_id, summary, revision=0)
    edit = await inserted(store, await next_turn(store, conversation_id, rewriting=2))
    # What was not brought along yet shows no summary of what is gone, either.
    kept = summary if stays else None
    assert (await store.load(conversation_id, 50)).summary == kept
    await store.turns.supersede(edit)
    assert (await store.load(conversation_id, 50)).summary == kept
    # The next is version 1 again where it was dropped, and of the new revision only.
    renewed = replace(summary, version=2 if stays else 1, text="anew")
    assert not await store.save_summary(conversation_id, renewed, revision=0)
    assert await store.save_summary(conversation_id, renewed, revision=1)
    await store.turns.supersede(edit)
    assert (await store.load(conversation_id, 50)).summary == renewed


async def test_purging_removes_superseded_turns_too(store: Store) -> None:
    conversation_id = await a_conversation(store)
    old = await exchanges(store, conversation_id, 2)
    edit = await edited(store, conversation_id, 1)
    await store.conversations.delete(conversation_id, USER)
    await store.conversations.purge(conversation_id)
    for turn in (*old, edit):
        assert await store.turns.get(conversation_id, turn.id) is None
        assert await store.turns.by_message(USER, turn.question.message_id) is None
