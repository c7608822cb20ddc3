"""What memory loads: the latest messages, the position, the summary."""

from __future__ import annotations

import asyncio

import pytest

from memory.errors import NotFound
from memory.records import Position, Summary, messages_of
from stores.contract import Store
from tests.stores.samples import (
    a_conversation,
    a_turn,
    an_exchange,
    claimed,
    closed,
    finished,
    inserted,
    new_id,
)


async def loaded_seqs(store: Store, conversation_id: str, max_messages: int) -> list[int | None]:
    transcript = await store.load(conversation_id, max_messages)
    return [message.seq for message in transcript.messages]


async def test_a_conversation_without_messages_loads_empty(store: Store) -> None:
    transcript = await store.load(await a_conversation(store), 50)
    assert (transcript.messages, transcript.summary) == ([], None)
    assert transcript.position == Position()


async def test_what_was_never_made_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.load(new_id(), 50)


async def test_loading_gives_whole_messages_and_their_position(store: Store) -> None:
    conversation_id = await a_conversation(store)
    first = await an_exchange(store, conversation_id, 1)
    second = await inserted(store, a_turn(conversation_id, 2))
    transcript = await store.load(conversation_id, 50)
    assert transcript.messages == [*messages_of(first), *messages_of(second)]
    assert transcript.position == Position(turn=2, answers=1)


@pytest.mark.parametrize("max_messages", [1, 2, 3, 4, 7, 8, 9, 50])
async def test_exactly_the_last_messages_are_loaded(store: Store, max_messages: int) -> None:
    conversation_id = await a_conversation(store)
    for n in range(1, 5):
        await an_exchange(store, conversation_id, n)
    expected = list(range(1, 9))[-max_messages:]
    assert await loaded_seqs(store, conversation_id, max_messages) == expected


async def test_exactly_the_last_messages_are_loaded_where_many_turns_have_no_answer(
    store: Store,
) -> None:
    conversation_id = await a_conversation(store)
    for n in range(1, 13):
        await an_exchange(store, conversation_id, n, answer=n <= 2)
    transcript = await store.load(conversation_id, 10)
    assert [message.seq for message in transcript.messages] == list(range(5, 25, 2))
    assert transcript.position == Position(turn=12, answers=2)


async def test_answers_are_counted_also_where_no_loaded_turn_knows_the_count(
    store: Store,
) -> None:
    conversation_id = await a_conversation(store)
    await an_exchange(store, conversation_id, 1)
    await an_exchange(store, conversation_id, 2)
    await inserted(store, a_turn(conversation_id, 3, status="running"))
    for n in range(4, 9):
        await inserted(store, a_turn(conversation_id, n))
    transcript = await store.load(conversation_id, 4)
    assert [message.seq for message in transcript.messages] == [9, 11, 13, 15]
    assert transcript.position == Position(turn=8, answers=2)


async def test_an_answer_counts_as_soon_as_it_is_finished(store: Store) -> None:
    conversation_id = await a_conversation(store)
    turn = await inserted(store, a_turn(conversation_id, 1, status="running"))
    await finished(store, turn)  # not closed: the conversation's own counter does not know it yet
    transcript = await store.load(conversation_id, 50)
    assert [message.seq for message in transcript.messages] == [1, 2]
    assert transcript.position == Position(turn=1, answers=1)


async def test_messages_after_a_seq_come_ascending_up_to_the_limit(store: Store) -> None:
    conversation_id = await a_conversation(store)
    for n, answer in enumerate([True, False, True, True], start=1):
        await an_exchange(store, conversation_id, n, answer=answer)

    async def seqs(seq: int, limit: int) -> list[int | None]:
        return [m.seq for m in await store.messages_after(conversation_id, seq, limit)]

    assert await seqs(0, 50) == [1, 2, 3, 5, 6, 7, 8]
    assert await seqs(1, 50) == [2, 3, 5, 6, 7, 8]
    assert await seqs(2, 3) == [3, 5, 6]
    assert await seqs(3, 2) == [5, 6]
    assert await seqs(3, 1) == [5]
    assert await seqs(4, 1) == [5]
    assert await seqs(8, 50) == []


async def test_messages_after_a_seq_end_before_the_first_open_turn(store: Store) -> None:
    # A summary past an open turn would never hear its answer.
    conversation_id = await a_conversation(store)
    await an_exchange(store, conversation_id, 1)
    running = await inserted(store, a_turn(conversation_id, 2, status="running"))
    third = await inserted(store, a_turn(conversation_id, 3))
    stopped = await store.turns.request_stop(conversation_id, third.id)
    assert stopped is not None
    await closed(store, stopped)
    found = await store.messages_after(conversation_id, 0, 50)
    assert [message.seq for message in found] == [1, 2]
    await closed(store, await finished(store, running))
    found = await store.messages_after(conversation_id, 2, 50)
    assert [message.seq for message in found] == [3, 4, 5]


def a_summary(version: int, text: str = "so far") -> Summary:
    return Summary(text=text, upto=2 * version, turns=version, version=version)


async def test_summaries_follow_each_other_version_by_version(store: Store) -> None:
    conversation_id = await a_conversation(store)
    assert not await store.save_summary(conversation_id, a_summary(2), revision=0)
    assert await store.save_summary(conversation_id, a_summary(1), revision=0)
    assert not await store.save_summary(conversation_id, a_summary(1, "other"), revision=0)
    assert not await store.save_summary(conversation_id, a_summary(3), revision=0)
    assert await store.save_summary(conversation_id, a_summary(2), revision=0)
    assert (await store.load(conversation_id, 50)).summary == a_summary(2)


async def test_a_summary_of_another_revision_or_of_nothing_is_refused(store: Store) -> None:
    conversation_id = await a_conversation(store)
    assert not await store.save_summary(conversation_id, a_summary(1), revision=1)
    assert not await store.save_summary(new_id(), a_summary(1), revision=0)
    assert (await store.load(conversation_id, 50)).summary is None


async def test_a_summary_saved_again_after_a_lost_reply_is_saved(store: Store) -> None:
    conversation_id = await a_conversation(store)
    assert await store.save_summary(conversation_id, a_summary(1), revision=0)
    assert await store.save_summary(conversation_id, a_summary(1), revision=0)


async def test_of_two_summaries_at_once_one_is_kept(two_stores: tuple[Store, Store]) -> None:
    conversation_id = await a_conversation(two_stores[0])
    texts = ["a", "b"]
    saved = await asyncio.gather(
        *(
            store.save_summary(conversation_id, a_summary(1, text), revision=0)
            for store, text in zip(two_stores, texts, strict=True)
        )
    )
    assert sorted(saved) == [False, True]
    kept = (await two_stores[0].load(conversation_id, 1)).summary
    assert kept is not None
    assert kept.text == texts[saved.index(True)]


async def test_a_conversation_reads_the_same_through_another_store(
    two_stores: tuple[Store, Store],
) -> None:
    first, second = two_stores
    conversation_id = await a_conversation(first)
    turn = await inserted(first, a_turn(conversation_id, 1))
    assert await second.turns.last(conversation_id) == turn
    await closed(second, await finished(second, await claimed(second, turn)))
    assert await first.load(conversation_id, 50) == await second.load(conversation_id, 50)
    assert await first.secret("guests") == await second.secret("guests")
