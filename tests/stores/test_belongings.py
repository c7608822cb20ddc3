"""What belongs to a turn beside question and answer comes back as it was given."""

from __future__ import annotations

from typing import Any

from memory.records import Attachment, Choice, Feedback, Question, ToolUse, question_of
from stores.contract import Store
from tests.stores.samples import (
    a_conversation,
    a_turn,
    an_answer,
    exchanges,
    inserted,
    new_id,
)

CONTEXT: dict[str, Any] = {"model": "m", "tokens": {"$total.all": 12}, "recalled": []}


async def test_choice_tools_feedback_and_attachments_are_kept(store: Store) -> None:
    conversation_id = await a_conversation(store)
    picture = Attachment(id=new_id(), type="image", media_type="image/png", size=67)
    question = Question(message_id=new_id(), content="?", created_at=1, attachments=[picture])
    turn = a_turn(
        conversation_id,
        1,
        status="running",
        question=question,
        choice=Choice(model="larger", system_prompt="pirate"),
        tools=[
            ToolUse(id="1", name="look", status="finished", input={"$a.b": [1]}, output="so"),
            ToolUse(id="2", name="pay", status="started", may_repeat=False),
        ],
        feedback=Feedback(value=-1, comment="no", at=7),
    )
    await inserted(store, turn)
    assert await store.turns.get(conversation_id, turn.id) == turn
    assert await store.turns.open_turns(conversation_id) == [turn]
    assert question_of(turn).attachments == [picture]


async def test_what_the_model_was_given_is_kept_with_the_end(store: Store) -> None:
    conversation_id = await a_conversation(store)
    turn = await inserted(store, a_turn(conversation_id, 1, status="running"))
    assert await store.turns.context(conversation_id, turn.id) is None
    answer = an_answer(turn)
    ended = await store.turns.finish(turn, "completed", answer, None, CONTEXT)
    assert ended is not None
    assert await store.turns.context(conversation_id, turn.id) == CONTEXT
    # A repeated call whose first reply was lost.
    assert await store.turns.finish(turn, "completed", answer, None, CONTEXT) == ended


async def test_what_was_not_kept_is_not_there(store: Store) -> None:
    conversation_id = await a_conversation(store)
    [turn] = await exchanges(store, conversation_id, 1)
    assert await store.turns.context(conversation_id, turn.id) is None
    assert await store.turns.context(conversation_id, "nobody's") is None
    assert await store.turns.context("another", turn.id) is None
    assert (turn.choice, turn.tools, turn.feedback) == (Choice(), [], None)
