"""What users think of answers, kept with their turns: one suite for both stores."""

from __future__ import annotations

import pytest

from memory.records import Feedback, messages_of
from stores.contract import Store
from tests.stores.samples import (
    a_conversation,
    an_exchange,
    edited,
    exchanges,
    inserted,
    next_turn,
    sent,
)

GOOD = Feedback(value=1, comment="Just so.", at=5_000)
BAD = Feedback(value=-1, at=6_000)


async def test_feedback_is_kept_with_the_answer(any_store: Store) -> None:
    conversation_id = await a_conversation(any_store)
    turns = await exchanges(any_store, conversation_id, 3)
    second = turns[1]
    assert second.answer is not None
    answer_id = second.answer.message_id
    given = await any_store.turns.set_feedback(conversation_id, answer_id, GOOD)
    assert given is not None
    assert (given.id, given.feedback) == (second.id, GOOD)
    kept = await any_store.turns.get(conversation_id, second.id)
    assert kept == given
    transcript = await any_store.load(conversation_id, 50)
    said = {message.id: message.feedback for message in transcript.messages if message.feedback}
    assert said == {answer_id: GOOD}


async def test_the_last_feedback_counts_and_none_takes_it_away(store: Store) -> None:
    conversation_id = await a_conversation(store)
    turn = await an_exchange(store, conversation_id, 1)
    assert turn.answer is not None
    for feedback in (GOOD, BAD, BAD, None, None, GOOD):
        given = await store.turns.set_feedback(conversation_id, turn.answer.message_id, feedback)
        assert given is not None
        assert given.feedback == feedback
        assert given.answer == turn.answer
    found = await store.turns.get(conversation_id, turn.id)
    assert found is not None
    assert [message.feedback for message in messages_of(found)] == [None, GOOD]


async def test_only_a_current_answer_of_that_conversation_takes_feedback(store: Store) -> None:
    conversation_id, other = await a_conversation(store), await a_conversation(store)
    first, second = await exchanges(store, conversation_id, 2)
    waiting = await sent(store, conversation_id)
    assert first.answer is not None
    assert second.answer is not None
    for where, message_id in (
        (other, first.answer.message_id),
        (conversation_id, first.question.message_id),
        (conversation_id, first.id),
        (conversation_id, f"answer-{waiting.id}"),
        (conversation_id, "nobody's"),
    ):
        assert await store.turns.set_feedback(where, message_id, GOOD) is None
    edit = await edited(store, conversation_id, 2)
    assert edit.place == 2
    assert await store.turns.set_feedback(conversation_id, second.answer.message_id, GOOD) is None
    given = await store.turns.set_feedback(conversation_id, first.answer.message_id, BAD)
    assert given is not None


async def test_what_is_superseded_and_not_marked_yet_takes_no_feedback(store: Store) -> None:
    conversation_id = await a_conversation(store)
    first, second = await exchanges(store, conversation_id, 2)
    await inserted(store, await next_turn(store, conversation_id, rewriting=1))
    for turn in (first, second):
        assert turn.answer is not None
        message_id = turn.answer.message_id
        assert await store.turns.set_feedback(conversation_id, message_id, GOOD) is None


async def test_a_comment_that_no_store_can_keep_is_refused(store: Store) -> None:
    conversation_id = await a_conversation(store)
    turn = await an_exchange(store, conversation_id, 1)
    assert turn.answer is not None
    with pytest.raises(ValueError, match="surrogate"):
        await store.turns.set_feedback(
            conversation_id, turn.answer.message_id, Feedback(value=1, comment="\ud800")
        )
