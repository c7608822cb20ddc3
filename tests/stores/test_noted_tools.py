"""A running turn's uses of tools are kept for whoever goes on with it."""

from __future__ import annotations

from memory.records import ToolUse
from stores.contract import Store
from tests.stores.samples import (
    OTHER,
    OVER,
    a_conversation,
    a_turn,
    an_answer,
    claimed,
    edited,
    finished,
    inserted,
    sent,
)

STARTED = ToolUse(id="1", name="look", status="started", input={"$a.b": ["é", 1]})
PAID = ToolUse(id="2", name="pay", status="finished", output="done", may_repeat=False)


async def test_what_was_noted_last_is_what_the_next_attempt_finds(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"), OVER)
    assert await store.turns.note_tools(turn, [STARTED])
    assert await store.turns.note_tools(turn, [STARTED, PAID])
    again = await claimed(store, turn, OTHER)
    assert (again.attempt, again.tools) == (2, [STARTED, PAID])


async def test_noting_the_same_again_is_harmless(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"))
    assert await store.turns.note_tools(turn, [PAID])
    assert await store.turns.note_tools(turn, [PAID])
    found = await store.turns.get("c1", turn.id)
    assert found is not None
    assert found.tools == [PAID]


async def test_an_attempt_that_is_over_notes_nothing(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"), OVER)
    again = await claimed(store, turn, OTHER)
    assert not await store.turns.note_tools(turn, [PAID])
    found = await store.turns.get("c1", turn.id)
    assert found is not None
    assert (found.attempt, found.tools) == (again.attempt, [])


async def test_an_ended_turn_needs_them_no_more_and_takes_none(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"))
    await store.turns.note_tools(turn, [PAID])
    ended = await finished(store, turn)
    assert ended.tools == []
    assert not await store.turns.note_tools(turn, [STARTED])
    assert await store.turns.finish(turn, "completed", an_answer(turn)) == ended


async def test_a_waiting_a_superseded_and_an_unknown_turn_take_nothing(store: Store) -> None:
    conversation_id = await a_conversation(store)
    running = await sent(store, conversation_id, status="running")
    waiting = await sent(store, conversation_id)
    assert not await store.turns.note_tools(waiting, [PAID])
    await edited(store, conversation_id, 1)
    assert not await store.turns.note_tools(running, [PAID])
    assert not await store.turns.note_tools(a_turn(conversation_id, 9, status="running"), [PAID])
