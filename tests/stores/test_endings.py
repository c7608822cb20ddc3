"""How turns end: stopped, finished, closed; each repeatable."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from memory.records import Position, TurnError
from stores.contract import Store
from tests.stores.samples import (
    LEASE,
    OTHER,
    OVER,
    USER,
    a_conversation,
    a_turn,
    an_answer,
    an_exchange,
    claimed,
    closed,
    finished,
    inserted,
)


async def test_a_stop_of_a_running_turn_is_noted_and_it_runs_on(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"))
    asked = await store.turns.request_stop("c1", turn.id)
    assert asked == msgspec.structs.replace(turn, stop_requested=True)
    assert await store.turns.request_stop("c1", turn.id) == asked


async def test_a_waiting_turn_is_stopped_here_and_now_and_stays_open(store: Store) -> None:
    await inserted(store, a_turn("c1", 1, status="running"))
    turn = await inserted(store, a_turn("c1", 2))
    stopped = await store.turns.request_stop("c1", turn.id)
    assert stopped is not None
    assert (stopped.status, stopped.open, stopped.answer) == ("stopped", True, None)
    assert await store.turns.claim(turn, OTHER, lease_ms=LEASE) is None


async def test_stopping_an_ended_turn_tells_how_it_ended(store: Store) -> None:
    turn = await an_exchange(store, "c1", 1)
    assert await store.turns.request_stop("c1", turn.id) == turn


async def test_stopping_finds_only_a_turn_of_that_conversation(store: Store) -> None:
    turn = await inserted(store, a_turn("c1"))
    assert await store.turns.request_stop("c2", turn.id) is None
    assert await store.turns.request_stop("c1", "unknown") is None
    assert await store.turns.get("c1", turn.id) == turn


async def test_a_stop_and_a_claim_at_once_leave_one_of_both(
    two_stores: tuple[Store, Store],
) -> None:
    for i in range(10):
        turn = await inserted(two_stores[0], a_turn(f"c{i}"))
        claim, stop = await asyncio.gather(
            two_stores[0].turns.claim(turn, OTHER, lease_ms=LEASE),
            two_stores[1].turns.request_stop(f"c{i}", turn.id),
        )
        assert stop is not None
        assert stop.status == ("stopped" if claim is None else "running")


async def test_a_finished_turn_keeps_its_answer_and_counts_it(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"))
    answer = an_answer(turn, usage={"total_tokens": 3, "details": {"a.b": 1, "$c": 2, "\0": 3}})
    ended = await store.turns.finish(turn, "completed", answer)
    assert ended == msgspec.structs.replace(turn, status="completed", answer=answer, answers=1)
    assert await store.turns.get("c1", turn.id) == ended


async def test_a_failed_turn_keeps_its_error_and_what_was_said(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"))
    error = TurnError(code="unavailable", message="The provider is away.", retryable=True)
    partial = an_answer(turn, "so f", status="interrupted")
    ended = await store.turns.finish(turn, "failed", partial, error)
    assert ended is not None
    assert (ended.status, ended.answer, ended.error) == ("failed", partial, error)


async def test_answers_are_counted_from_turn_to_turn_with_and_without_answer(
    store: Store,
) -> None:
    counts = []
    for n, answer in enumerate([True, False, True, True, False], start=1):
        counts.append((await an_exchange(store, "c1", n, answer=answer)).answers)
    assert counts == [1, 1, 2, 3, 3]


async def test_turns_of_two_servers_that_end_at_once_all_end(
    two_stores: tuple[Store, Store],
) -> None:
    turns = [a_turn(f"c{i}", status="running") for i in range(60)]
    await asyncio.gather(*(inserted(two_stores[0], turn) for turn in turns))
    ended = await asyncio.gather(
        *(finished(two_stores[i % 2], turn) for i, turn in enumerate(turns))
    )
    assert [turn.answers for turn in ended] == [1] * 60


async def test_a_turn_stopped_while_it_waited_does_not_break_the_count(store: Store) -> None:
    first = await inserted(store, a_turn("c1", 1, status="running"))
    second = await inserted(store, a_turn("c1", 2))
    third = await inserted(store, a_turn("c1", 3))
    stopped = await store.turns.request_stop("c1", second.id)
    assert stopped is not None
    await closed(store, stopped)  # while the first still runs
    await closed(store, await finished(store, first))
    ended = await finished(store, await claimed(store, third))
    assert ended.answers == 2


async def test_a_finish_repeated_after_a_lost_reply_gives_the_turn(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"))
    ended = await finished(store, turn)
    assert await finished(store, turn) == ended
    await closed(store, ended)
    assert await finished(store, turn) == msgspec.structs.replace(ended, open=False)


async def test_a_finish_that_ends_otherwise_than_before_is_refused(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"))
    ended = await finished(store, turn)
    assert await store.turns.finish(turn, "stopped", ended.answer) is None
    assert await store.turns.finish(turn, "completed", None) is None
    assert await store.turns.finish(turn, "completed", an_answer(turn, message_id="x")) is None
    assert await store.turns.get("c1", turn.id) == ended


async def test_who_lost_a_turn_cannot_finish_it(store: Store) -> None:
    lost = await inserted(store, a_turn("c1", status="running"), OVER)
    taken = await claimed(store, lost, OTHER)
    assert await store.turns.finish(lost, "completed", an_answer(lost, "stale")) is None
    ended = await finished(store, taken)
    assert await store.turns.finish(lost, "completed", an_answer(lost)) is None
    assert await store.turns.get("c1", lost.id) == ended


async def test_a_waiting_turn_cannot_be_finished_nor_one_that_is_gone(store: Store) -> None:
    turn = await inserted(store, a_turn("c1"))
    assert await store.turns.finish(turn, "completed", an_answer(turn)) is None
    await store.turns.remove(turn)
    assert await store.turns.finish(turn, "completed", an_answer(turn)) is None


async def test_a_turn_ends_only_in_an_ended_status(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"))
    with pytest.raises(ValueError, match="queued"):
        await store.turns.finish(turn, "queued", None)


async def test_closing_lets_the_conversation_follow_then_the_turn_is_closed(
    store: Store,
) -> None:
    conversation_id = await a_conversation(store)
    turn = await inserted(store, a_turn(conversation_id, 1, status="running"))
    ended = await finished(store, turn)
    assert (await store.conversations.get(conversation_id, USER)).position.answers == 0
    await store.turns.close(ended)
    conversation = await store.conversations.get(conversation_id, USER)
    assert conversation.position == Position(turn=1, answers=1)
    assert conversation.updated_at == 2_001  # the answer's time
    assert await store.turns.get(conversation_id, turn.id) == msgspec.structs.replace(
        ended, open=False
    )


async def test_closing_tells_whether_another_is_open(store: Store) -> None:
    conversation_id, other = await a_conversation(store), await a_conversation(store)
    first = await finished(
        store, await inserted(store, a_turn(conversation_id, 1, status="running"))
    )
    second = await inserted(store, a_turn(conversation_id, 2))
    await inserted(store, a_turn(other, 1, status="running"))
    assert await store.turns.close(first) is True
    stopped = await store.turns.request_stop(conversation_id, second.id)
    assert stopped is not None
    assert await store.turns.close(stopped) is False


async def test_closing_late_or_again_takes_nothing_back(store: Store) -> None:
    conversation_id = await a_conversation(store)
    first = await an_exchange(store, conversation_id, 1)
    await an_exchange(store, conversation_id, 2)
    after = await store.conversations.get(conversation_id, USER)
    await store.turns.close(first)
    assert await store.conversations.get(conversation_id, USER) == after
    assert after.position == Position(turn=2, answers=2)


async def test_a_turn_that_has_not_ended_stays_open(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"))
    await store.turns.close(turn)
    assert await store.turns.open_turns("c1") == [turn]


async def test_closing_a_turn_of_a_deleted_conversation_revives_nothing(store: Store) -> None:
    conversation_id = await a_conversation(store)
    turn = await inserted(store, a_turn(conversation_id, 1, status="running"))
    ended = await finished(store, turn)
    await store.conversations.delete(conversation_id, USER)
    await store.turns.close(ended)
    assert await store.turns.open_turns(conversation_id) == []
    assert await store.conversations.list(USER, before=None, limit=1) == []
