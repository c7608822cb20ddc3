"""Whatever people write is kept as they wrote it."""

from __future__ import annotations

import pytest

from memory.records import Summary
from stores.contract import Store
from tests.stores.samples import (
    USER,
    a_conversation,
    a_turn,
    an_answer,
    claimed,
    inserted,
    new_id,
)

TEXTS = {
    "emoji": "👩‍👩‍👧 🏳️‍🌈",
    "right to left": "שלום مرحبا",
    "NUL": "a\0b\0",
    "operators": "$set.$$NOW {$gt: 1} $literal",
    "SQL": "'; DROP TABLE turns; --",
    "long": "ü" * 100_000,
    "empty": "",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
async def test_any_text_comes_back_as_it_was(store: Store, text: str) -> None:
    conversation_id = await a_conversation(store)
    await store.conversations.rename(conversation_id, USER, text)
    renamed = await store.conversations.touch(a_turn(conversation_id), title=text)
    assert renamed.title == text
    turn = await inserted(store, a_turn(conversation_id, content=text, message_id=f"m{text}"))
    found = await store.turns.by_message(turn.user_id, f"m{text}")
    assert found == turn
    running = await claimed(store, turn, text)
    summary = Summary(text=text, upto=1, turns=1, version=1)
    assert await store.save_summary(conversation_id, summary, revision=0)
    assert await store.turns.renew([turn.id], text, lease_ms=1_000) == {turn.id: False}
    answer = await store.turns.finish(running, "completed", an_answer(running, text))
    assert answer is not None
    transcript = await store.load(conversation_id, 50)
    assert [message.content for message in transcript.messages] == [text, text]
    assert transcript.summary == summary


async def test_a_lone_surrogate_is_refused_in_plain_words(store: Store) -> None:
    bad = "\ud800"
    conversation_id = await a_conversation(store)
    turn = await inserted(store, a_turn(conversation_id, status="running"))
    for refused in (
        store.conversations.create(new_id(), USER, bad, digest=None, at=1),
        store.conversations.rename(conversation_id, USER, bad),
        store.turns.insert(a_turn("c2", content=bad), lease_ms=1),
        store.save_summary(
            conversation_id, Summary(text=bad, upto=1, turns=1, version=1), revision=0
        ),
        store.turns.finish(turn, "completed", an_answer(turn, bad)),
    ):
        with pytest.raises(ValueError, match="surrogate"):
            await refused
