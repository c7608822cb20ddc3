"""Turns that a server kept elsewhere while MongoDB was away, and brings here afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from memory.errors import Duplicate, DuplicateMessage, DuplicateNumber, DuplicateRunning
from memory.records import Position, Turn, TurnError
from mongo.client import DRIVERS
from mongo.store import MongoStore
from tests.stores.conftest import connected
from tests.stores.samples import (
    LEASE,
    ME,
    OTHER,
    OVER,
    USER,
    a_conversation,
    a_turn,
    an_answer,
    claimed,
    closed,
    edited,
    finished,
    inserted,
    next_turn,
    sent,
)
from tests.support.mongod import Mongod


@pytest.fixture(params=DRIVERS.values(), ids=DRIVERS)
async def store(
    request: pytest.FixtureRequest, mongod: Mongod, mongo_database: str
) -> AsyncIterator[MongoStore]:
    opened = MongoStore(mongod.uri, mongo_database, driver=request.param)
    async with connected(opened):
        yield opened


def ended(turn: Turn, content: str | None = None, **fields: Any) -> Turn:
    """As another store would have it, completed."""
    answer = an_answer(turn, content, usage={"a.b": 1, "$c": "$d"})
    defaults: dict[str, Any] = {"status": "completed", "answer": answer, "answers": turn.n}
    defaults |= {"attempt": max(1, turn.attempt)}
    return msgspec.structs.replace(turn, **{**defaults, **fields})


async def taken_in(store: MongoStore, turn: Turn) -> Turn:
    taken = await store.turns.take_in(turn, lease_ms=LEASE)
    assert taken is not None
    assert await store.turns.get(turn.conversation_id, turn.id) == taken
    return taken


RUNNING = a_turn("c1", status="running")
FAILED = msgspec.structs.replace(
    RUNNING, status="failed", error=TurnError(code="$x", message="$$NOW", retryable=True), answers=0
)


@pytest.mark.parametrize(
    "turn",
    [
        a_turn("c1"),
        RUNNING,
        ended(RUNNING, "$answer"),
        ended(RUNNING, open=False),
        FAILED,
        a_turn("c1", 3, status="stopped", accepted="queued", stop_requested=True),
        ended(a_turn("c1", 4, place=2, revision=1, rewrites=True, key="k", status="running")),
    ],
    ids=["queued", "running", "completed", "closed", "failed", "stopped", "rewriting"],
)
async def test_a_turn_that_is_not_here_is_kept_as_it_is_and_once(
    store: MongoStore, turn: Turn
) -> None:
    assert await taken_in(store, turn) == turn
    assert await taken_in(store, turn) == turn
    assert [kept.id for kept in await store.turns.before("c1", None, 5)] == [turn.id]


async def test_what_only_another_store_says_of_a_turn_is_not_kept(store: MongoStore) -> None:
    turn = a_turn("c1")
    taken = await taken_in(store, msgspec.structs.replace(turn, spooled="whole"))
    assert taken == turn


async def test_the_holder_of_a_turn_that_comes_running_has_its_lease_from_now(
    store: MongoStore,
) -> None:
    turn = await taken_in(store, RUNNING)
    assert await store.turns.adrift(5) == []
    assert await store.turns.renew([turn.id], ME, lease_ms=LEASE) == {turn.id: False}
    await store.turns.take_in(turn, lease_ms=OVER)
    assert await store.turns.adrift(5) == [turn]
    await store.turns.take_in(turn, lease_ms=LEASE)
    assert await store.turns.adrift(5) == []


@pytest.mark.parametrize("as_accepted", ["queued", "running"])
async def test_a_turn_accepted_here_gets_the_end_it_came_to_elsewhere(
    store: MongoStore, as_accepted: str
) -> None:
    conversation_id = await a_conversation(store)
    turn = await inserted(store, a_turn(conversation_id, status=as_accepted))
    await store.conversations.touch(turn)
    end = ended(turn, stop_requested=True, owner=ME)
    assert await taken_in(store, end) == end
    assert await taken_in(store, end) == end

    await store.turns.close(end)
    await store.turns.close(end)
    conversation = await store.conversations.get(conversation_id, USER)
    assert conversation.position == Position(revision=0, turn=1, answers=1)
    # A drain that was broken off before it heard of that begins anew.
    assert await taken_in(store, end) == msgspec.structs.replace(end, open=False)


async def test_an_attempt_begun_elsewhere_goes_on_from_there(store: MongoStore) -> None:
    turn = await inserted(store, a_turn("c1", status="running"), lease_ms=OVER)
    second = msgspec.structs.replace(turn, attempt=2, owner=OTHER)
    assert await taken_in(store, second) == second
    assert await store.turns.renew([turn.id], ME, lease_ms=LEASE) == {}
    assert await store.turns.renew([turn.id], OTHER, lease_ms=LEASE) == {turn.id: False}
    assert await store.turns.finish(turn, "completed", an_answer(turn)) is None
    await closed(store, await finished(store, second))


async def test_a_turn_that_is_not_held_any_more_is_not_taken(store: MongoStore) -> None:
    turn = await inserted(store, a_turn("c1", status="running"), lease_ms=OVER)
    theirs = await claimed(store, turn, OTHER)
    end = ended(turn)
    assert await store.turns.take_in(turn, lease_ms=LEASE) is None
    assert await store.turns.take_in(end, lease_ms=LEASE) is None
    # The same attempt, by somebody else.
    mine = msgspec.structs.replace(turn, attempt=2)
    assert await store.turns.take_in(mine, lease_ms=LEASE) is None
    assert await store.turns.get("c1", turn.id) == theirs

    their_end = await finished(store, theirs)
    assert await store.turns.take_in(end, lease_ms=LEASE) is None
    assert await store.turns.take_in(ended(turn, attempt=9), lease_ms=LEASE) is None
    assert await store.turns.get("c1", turn.id) == their_end


async def test_an_end_that_was_told_wins_over_the_same_attempt_of_another(
    store: MongoStore,
) -> None:
    """Both had accepted the message, and neither had heard of the other."""
    conversation_id = await a_conversation(store)
    theirs = await inserted(store, a_turn(conversation_id, status="running", owner=OTHER))
    await store.conversations.touch(theirs)
    end = ended(msgspec.structs.replace(theirs, owner=ME))
    assert await taken_in(store, end) == end
    assert await store.turns.finish(theirs, "completed", an_answer(theirs)) is None
    assert await store.turns.renew([theirs.id], OTHER, lease_ms=LEASE) == {}
    await store.turns.close(end)
    kept = await store.turns.get(conversation_id, theirs.id)
    assert kept == msgspec.structs.replace(end, open=False)


async def test_another_end_is_not_taken(store: MongoStore) -> None:
    turn = await inserted(store, a_turn("c1", status="running"))
    end = await finished(store, turn, answer=False)
    assert await store.turns.take_in(ended(turn), lease_ms=LEASE) is None
    assert await store.turns.take_in(turn, lease_ms=LEASE) is None
    assert await store.turns.get("c1", turn.id) == end


async def test_a_waiting_turn_stopped_here_is_not_taken(store: MongoStore) -> None:
    turn = await inserted(store, a_turn("c1"))
    stopped = await store.turns.request_stop("c1", turn.id)
    assert await store.turns.take_in(ended(turn), lease_ms=LEASE) is None
    assert await store.turns.get("c1", turn.id) == stopped


async def test_a_superseded_turn_is_not_taken(store: MongoStore) -> None:
    conversation_id = await a_conversation(store)
    turn = await inserted(store, a_turn(conversation_id, status="running"))
    await store.conversations.touch(turn)
    await edited(store, conversation_id, 1)
    before = await store.turns.get(conversation_id, turn.id)
    assert await store.turns.take_in(turn, lease_ms=LEASE) is None
    assert await store.turns.take_in(ended(turn), lease_ms=LEASE) is None
    stopped = msgspec.structs.replace(turn, status="stopped")
    assert await store.turns.take_in(stopped, lease_ms=LEASE) is None
    assert await store.turns.get(conversation_id, turn.id) == before


async def test_what_is_in_its_way_is_named_as_for_any_other_turn(store: MongoStore) -> None:
    there = await inserted(store, a_turn("c1", status="running"))
    message_id = there.question.message_id
    with pytest.raises(DuplicateMessage):
        await store.turns.take_in(a_turn("c2", message_id=message_id), lease_ms=LEASE)
    with pytest.raises(DuplicateNumber):
        await store.turns.take_in(ended(a_turn("c1")), lease_ms=LEASE)
    with pytest.raises(DuplicateRunning):
        await store.turns.take_in(a_turn("c1", 2, status="running"), lease_ms=LEASE)
    with pytest.raises(Duplicate):
        await store.turns.take_in(a_turn("c2", id=there.id), lease_ms=LEASE)

    waiting = await inserted(store, a_turn("c1", 2))
    running = msgspec.structs.replace(waiting, status="running", attempt=1)
    with pytest.raises(DuplicateRunning):
        await store.turns.take_in(running, lease_ms=LEASE)
    assert await store.turns.get("c1", waiting.id) == waiting


@pytest.mark.parametrize("field", ["content", "message"])
async def test_text_that_cant_be_kept_is_refused(store: MongoStore, field: str) -> None:
    error = TurnError(code="x", message="\ud800", retryable=False)
    turn = (
        ended(RUNNING, "\ud800")
        if field == "content"
        else msgspec.structs.replace(FAILED, error=error)
    )
    with pytest.raises(ValueError, match="surrogate"):
        await store.turns.take_in(turn, lease_ms=LEASE)


@pytest.mark.parametrize("is_lost", [False, True])
async def test_what_ended_behind_an_open_turn_is_counted_anew_when_that_ends(
    store: MongoStore, is_lost: bool
) -> None:
    """One that another server accepted in between, before the spool came back."""
    conversation_id = await a_conversation(store)
    first = await sent(store, conversation_id, status="running")
    await closed(store, await finished(store, first))
    running = await sent(store, conversation_id, status="running")
    later = await next_turn(store, conversation_id)
    taken = await taken_in(store, ended(later, answers=2, open=False))
    await store.conversations.touch(taken)
    assert not await store.turns.recount(conversation_id)
    await store.turns.close(taken)
    finishes = [await finished(store, running)]
    if is_lost:  # its reply, and so it is asked again
        finishes.append(await finished(store, running))
    assert {each.answers for each in finishes} == {2}
    await closed(store, finishes[0])
    turns = await store.turns.before(conversation_id, None, 10)
    assert [turn.answers for turn in turns] == [1, 2, 3]
    conversation = await store.conversations.get(conversation_id, USER)
    assert conversation.position == Position(turn=3, answers=3)
    assert (await store.load(conversation_id, 50)).position.answers == 3
    last = await sent(store, conversation_id, status="running")
    assert (await finished(store, last)).answers == 4
